/// Checkpoints, tokenizers, models and generation. Knows nothing of pruning.
module dev.espalier.runtime {
    requires transitive dev.espalier.kernels;
    requires transitive com.fasterxml.jackson.databind;
    requires jinjava;
    // Jinjava, an automatic module, uses java.beans.
    requires java.desktop;

    exports dev.espalier.checkpoint;
    exports dev.espalier.generate;
    exports dev.espalier.model;
    exports dev.espalier.tokenizer;
}
