/// Calibration statistics, patterns, solvers. Knows nothing of the command line or HTTP.
module dev.espalier.prune {
    requires transitive dev.espalier.runtime;

}
