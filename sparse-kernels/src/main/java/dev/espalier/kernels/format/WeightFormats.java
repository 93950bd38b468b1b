package dev.espalier.kernels.format;

import dev.espalier.kernels.WeightFormat;
import dev.espalier.tensor.InputException;
import java.util.List;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.stream.Collectors;

/// The weight formats that the CPU has kernels for.
public final class WeightFormats {
    private static final List<WeightFormat> ALL = List.of(
            Dense.tiled(),
            Bitmask.of(),
            Swell.of(),
            NOfM.of(2, 4),
            NOfM.of(4, 8),
            NOfM.of(1, 4),
            Csr.of(),
            DenseInt8.of(),
            BitmaskInt8.of(),
            Swell.int8(),
            NOfM.of(2, 4).int8(),
            NOfM.of(4, 8).int8());

    private static final Pattern N_OF_M = Pattern.compile("(\\d{1,9}):(\\d{1,9})(-int8)?");

    private WeightFormats() {}

    /// Every format; of the N:M family, which [#named] knows whole, the usual members.
    public static List<WeightFormat> all() {
        return ALL;
    }

    /// The format called `name`: one of [#all], or any `N:M` or `N:M-int8`. `dense` is the tiled one.
    ///
    /// @throws InputException if there is none, with the list of those that there are
    public static WeightFormat named(String name) {
        for (WeightFormat format : ALL) {
            if (format.name().equals(name)) {
                return format;
            }
        }
        Matcher matcher = N_OF_M.matcher(name);
        if (matcher.matches()) {
            try {
                NOfM exact = NOfM.of(Integer.parseInt(matcher.group(1)), Integer.parseInt(matcher.group(2)));
                return matcher.group(3) == null ? exact : exact.int8();
            } catch (IllegalArgumentException e) {
                throw new InputException(e.getMessage(), e);
            }
        }
        throw new InputException("format '%s' is not known; known: %s, any N:M and N:M-int8"
                .formatted(name, ALL.stream().map(WeightFormat::name).collect(Collectors.joining(", "))));
    }
}
