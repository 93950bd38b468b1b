package dev.espalier.tokenizer;

import java.time.LocalDateTime;
import java.time.format.DateTimeFormatter;
import java.util.Locale;

/// The C library's date formats, as far as chat templates use them.
final class Strftime {
    private Strftime() {}

    static String format(String format, LocalDateTime time) {
        StringBuilder text = new StringBuilder();
        for (int i = 0; i < format.length(); i++) {
            char c = format.charAt(i);
            if (c != '%' || i + 1 == format.length()) {
                text.append(c);
                continue;
            }
            char conversion = format.charAt(++i);
            boolean unpadded = conversion == '-' && i + 1 < format.length();
            if (unpadded) {
                conversion = format.charAt(++i);
            }
            String pattern = switch (conversion) {
                case 'Y' -> "yyyy";
                case 'y' -> "yy";
                case 'm' -> unpadded ? "M" : "MM";
                case 'd' -> unpadded ? "d" : "dd";
                case 'H' -> unpadded ? "H" : "HH";
                case 'I' -> unpadded ? "h" : "hh";
                case 'M' -> unpadded ? "m" : "mm";
                case 'S' -> unpadded ? "s" : "ss";
                case 'p' -> "a";
                case 'B' -> "MMMM";
                case 'b', 'h' -> "MMM";
                case 'A' -> "EEEE";
                case 'a' -> "EEE";
                case 'j' -> unpadded ? "D" : "DDD";
                case 'F' -> "yyyy-MM-dd";
                case 'T' -> "HH:mm:ss";
                case 'R' -> "HH:mm";
                case 'D' -> "MM/dd/yy";
                case '%' -> "'%'";
                default -> throw new IllegalStateException("strftime_now: '%" + conversion + "' is not supported");
            };
            text.append(DateTimeFormatter.ofPattern(pattern, Locale.US).format(time));
        }
        return text.toString();
    }
}
