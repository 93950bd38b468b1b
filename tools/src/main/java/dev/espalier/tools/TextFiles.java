package dev.espalier.tools;

import dev.espalier.tensor.InputException;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.charset.CharacterCodingException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;

/// Texts that a user names.
final class TextFiles {
    private TextFiles() {}

    /// The contents of `file`, which `option` named, as UTF-8.
    ///
    /// @throws InputException if it is not there, not readable, not UTF-8, or empty
    static String read(Path file, String option) {
        try {
            String text = StandardCharsets.UTF_8
                    .newDecoder()
                    .decode(ByteBuffer.wrap(Files.readAllBytes(file)))
                    .toString();
            if (text.isBlank()) {
                throw new InputException("%s %s has no text in it.".formatted(option, file));
            }
            return text;
        } catch (CharacterCodingException e) {
            throw new InputException("%s %s is not UTF-8; convert it first.".formatted(option, file), e);
        } catch (NoSuchFileException e) {
            throw new InputException("%s %s: there is no such file.".formatted(option, file), e);
        } catch (IOException e) {
            String reason = Files.isDirectory(file) ? "it is a folder" : e.getMessage();
            throw new InputException("%s %s cannot be read: %s.".formatted(option, file, reason), e);
        } catch (OutOfMemoryError e) {
            throw new InputException("%s %s is too large to be read at once.".formatted(option, file), e);
        }
    }
}
