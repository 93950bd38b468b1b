/// Commands, server, benchmarks. Nothing depends on it.
module dev.espalier.tools {
    requires transitive dev.espalier.prune;
    requires info.picocli;
    requires jdk.httpserver;

    exports dev.espalier.tools.demo;

    opens dev.espalier.tools to
            info.picocli;
}
