package dev.espalier.checkpoint;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.espalier.tensor.InputException;
import java.lang.foreign.MemorySegment;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.SplittableRandom;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

class SafetensorsTest {
    private static final String GOOD =
            "{\"__metadata__\":{\"format\":\"pt\"},\"a\":{\"dtype\":\"F32\",\"shape\":[2,3],\"data_offsets\":[0,24]},"
                    + "\"b\":{\"dtype\":\"BF16\",\"shape\":[],\"data_offsets\":[24,26]},"
                    + "\"c\":{\"dtype\":\"I64\",\"shape\":[0,7],\"data_offsets\":[26,26]}}  ";

    @Test
    void aWellFormedHeaderGivesTensorsInItsOrder() {
        Safetensors file = read(GOOD, 26);
        assertEquals(List.of("a", "b", "c"), List.copyOf(file.entries().keySet()));
        assertEquals(Map.of("format", "pt"), file.metadata());
        assertEquals(List.of(2L, 3L), file.entries().get("a").shape());
        assertEquals(24, file.bytes(file.entries().get("a")).byteSize());
        assertEquals(List.of(), file.entries().get("b").shape());
    }

    @Test
    void everyTypeOfTheFormatIsAccepted() {
        for (Map.Entry<String, Integer> type : Safetensors.BITS.entrySet()) {
            int bytes = type.getValue(); // eight elements of n bits are n bytes
            Safetensors file = read(
                    "{\"a\":{\"dtype\":\"%s\",\"shape\":[8],\"data_offsets\":[0,%d]}}".formatted(type.getKey(), bytes),
                    bytes);
            assertEquals(bytes, file.bytes(file.entries().get("a")).byteSize());
        }
    }

    @ParameterizedTest(name = "{2}")
    @CsvSource(
            delimiter = '|',
            quoteCharacter = '`',
            value = {
                "{                                                                     | 0  | not JSON",
                "[]                                                                    | 0  | no JSON object",
                "{} x                                                                  | 0  | not JSON",
                "{}{}                                                                  | 0  | something behind",
                "{}                                                                    | 4  | 4 bytes behind its last",
                "{'a':1}                                                               | 0  | not an object",
                "{'a':{'dtype':'F32','shape':[1],'data_offsets':[0,4]},'a':{'dtype':'F32','shape':[1],'data_offsets':[4,8]}} | 8 | twice",
                "{'a':{'dtype':'F32','dtype':'F32','shape':[1],'data_offsets':[0,4]}}   | 4  | twice",
                "{'__metadata__':{},'__metadata__':{}}                                 | 0  | twice",
                "{'__metadata__':{'k':'1','k':'2'}}                                    | 0  | twice",
                "{'__metadata__':{'k':1}}                                              | 0  | not a string",
                "{'__metadata__':[]}                                                   | 0  | not an object",
                "{'a':{'dtype':'F31','shape':[1],'data_offsets':[0,4]}}                 | 4  | unknown dtype 'F31'",
                "{'a':{'dtype':32,'shape':[1],'data_offsets':[0,4]}}                    | 4  | unknown dtype",
                "{'a':{'dtype':'F32','shape':[1],'data_offsets':[0,4],'x':1}}           | 4  | unknown key 'x'",
                "{'a':{'dtype':'F32','shape':[1]}}                                     | 4  | lacks",
                "{'a':{'dtype':'F32','shape':[1],'data_offsets':[0,4,8]}}               | 4  | lacks",
                "{'a':{'dtype':'F32','shape':[-1],'data_offsets':[0,4]}}                | 4  | not a list of whole",
                "{'a':{'dtype':'F32','shape':[1.0],'data_offsets':[0,4]}}               | 4  | not a list of whole",
                "{'a':{'dtype':'F32','shape':'1','data_offsets':[0,4]}}                 | 4  | not a list of whole",
                "{'a':{'dtype':'F32','shape':[99999999999999999999],'data_offsets':[0,4]}} | 4 | not a list of whole",
                "{'a':{'dtype':'F32','shape':[4294967296,4294967296],'data_offsets':[0,0]}} | 0 | impossible shape",
                "{'a':{'dtype':'F32','shape':[2305843009213693952],'data_offsets':[0,0]}} | 0 | impossible shape",
                "{'a':{'dtype':'F32','shape':[2],'data_offsets':[0,4]}}                 | 4  | takes 8",
                "{'a':{'dtype':'F32','shape':[1],'data_offsets':[4,0]}}                 | 4  | takes 4",
                "{'a':{'dtype':'F4','shape':[3],'data_offsets':[0,1]}}                  | 1  | takes 1",
                "{'a':{'dtype':'F32','shape':[1],'data_offsets':[4,8]}}                 | 8  | leave a hole",
                "{'a':{'dtype':'F32','shape':[1],'data_offsets':[0,4]},'b':{'dtype':'F32','shape':[1],'data_offsets':[8,12]}} | 12 | leave a hole",
                "{'a':{'dtype':'F32','shape':[1],'data_offsets':[0,4]},'b':{'dtype':'F32','shape':[1],'data_offsets':[2,6]}} | 6 | overlap",
                "{'a':{'dtype':'F32','shape':[1],'data_offsets':[0,4]},'b':{'dtype':'F32','shape':[1],'data_offsets':[0,4]}} | 4 | overlap",
                "{'a':{'dtype':'F32','shape':[9],'data_offsets':[0,36]}}                | 30 | truncated",
            })
    void aBrokenHeaderIsRefusedWithItsFault(String header, int dataBytes, String fault) {
        InputException e = assertThrows(InputException.class, () -> read(header.replace('\'', '"'), dataBytes));
        assertTrue(e.getMessage().contains(fault), e.getMessage());
        assertTrue(e.getMessage().startsWith("file.safetensors "), e.getMessage());
        assertTrue(e.getMessage().length() < 300, e.getMessage());
    }

    @ParameterizedTest
    @CsvSource({"1152921504606846976", "-1", "100000001", "9223372036854775807"})
    void anAbsurdHeaderLengthIsRefusedWithoutAllocating(long length) {
        byte[] file = ByteBuffer.allocate(64)
                .order(ByteOrder.LITTLE_ENDIAN)
                .putLong(length)
                .array();
        InputException e = assertThrows(InputException.class, () -> of(file));
        assertTrue(e.getMessage().contains(Long.toUnsignedString(length)), e.getMessage());
    }

    @Test
    void everyCutOfAGoodFileIsRefused() {
        byte[] file = file(GOOD, 26);
        for (int length = 0; length < file.length; length++) {
            byte[] cut = Arrays.copyOf(file, length);
            assertThrows(InputException.class, () -> of(cut), "cut to " + length + " bytes");
        }
        assertThrows(InputException.class, () -> of(Arrays.copyOf(file, file.length + 8)));
    }

    @Test
    void aHeaderThatIsNotUtf8IsRefused() {
        byte[] file = file("{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]}}", 4);
        file[10] = (byte) 0xff;
        InputException e = assertThrows(InputException.class, () -> of(file));
        assertTrue(e.getMessage().contains("UTF-8"), e.getMessage());
    }

    @Test
    void aNameWithControlCharactersDoesNotReachTheMessage() {
        InputException e = assertThrows(
                InputException.class,
                () -> read("{\"\\u001b[2J\\n\":{\"dtype\":\"X\",\"shape\":[],\"data_offsets\":[0,0]}}", 0));
        assertTrue(e.getMessage().chars().noneMatch(Character::isISOControl), e.getMessage());
    }

    /// Whatever the bytes, the reader answers with tensors that lie inside the file or with an [InputException]; it
    /// never throws anything else.
    @Test
    void mutatedFilesAreReadOrRefused() {
        SplittableRandom random = new SplittableRandom(20261126);
        byte[] good = file(GOOD, 26);
        String alphabet = "{}[]\":,0123456789.eE-+ \\abcdtypeshF32BF16I64nul\u0000\u00ff";
        int read = 0;
        for (int round = 0; round < 50_000; round++) {
            byte[] file = good.clone();
            for (int change = random.nextInt(1, 5); change > 0; change--) {
                int at = random.nextInt(random.nextInt(10) == 0 ? 0 : 8, file.length);
                switch (random.nextInt(4)) {
                    case 0 -> file[at] = (byte) random.nextInt(256);
                    case 1 -> file[at] = (byte) alphabet.charAt(random.nextInt(alphabet.length()));
                    case 2 -> file = Arrays.copyOf(file, Math.max(9, random.nextInt(file.length + 8)));
                    default -> {
                        // Copies a stretch of the header over another one: repeated and nested pieces.
                        int to = random.nextInt(8, file.length);
                        int length = Math.min(random.nextInt(1, 40), file.length - Math.max(at, to));
                        System.arraycopy(file.clone(), at, file, to, length);
                    }
                }
            }
            byte[] mutated = file;
            try {
                Safetensors parsed = of(mutated);
                long total = 0;
                for (Safetensors.Entry entry : parsed.entries().values()) {
                    total += parsed.bytes(entry).byteSize();
                }
                assertTrue(total <= mutated.length - 8, "round " + round);
                read++;
            } catch (InputException e) {
                assertTrue(e.getMessage().startsWith("file.safetensors "), e.getMessage());
            }
        }
        assertTrue(read > 100, "too few of the mutations are well-formed: " + read);
    }

    private static Safetensors read(String header, int dataBytes) {
        return of(file(header, dataBytes));
    }

    private static Safetensors of(byte[] file) {
        return Safetensors.of("file.safetensors", MemorySegment.ofArray(file));
    }

    private static byte[] file(String header, int dataBytes) {
        byte[] json = header.getBytes(StandardCharsets.UTF_8);
        return ByteBuffer.allocate(8 + json.length + dataBytes)
                .order(ByteOrder.LITTLE_ENDIAN)
                .putLong(json.length)
                .put(json)
                .array();
    }
}
