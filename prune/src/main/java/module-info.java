/// Calibration statistics, patterns, solvers. Knows nothing of the command line or HTTP.
module dev.espalier.prune {
    requires transitive dev.espalier.runtime;

    exports dev.espalier.prune;
    exports dev.espalier.prune.calibrate;
    exports dev.espalier.prune.pattern;
    exports dev.espalier.prune.solver;
}
