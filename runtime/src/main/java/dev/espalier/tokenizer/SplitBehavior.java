package dev.espalier.tokenizer;

import java.util.ArrayList;
import java.util.List;

/// What becomes of the stretches that a splitting pattern matches (the delimiters).
enum SplitBehavior {
    /// Dropped.
    REMOVED,
    /// A piece of their own.
    ISOLATED,
    /// Joined to the piece before.
    MERGED_WITH_PREVIOUS,
    /// Joined to the piece after.
    MERGED_WITH_NEXT,
    /// Neighbouring delimiters become one piece.
    CONTIGUOUS;

    static SplitBehavior read(Spec spec, String field) {
        return switch (spec.text(field)) {
            case "Removed" -> REMOVED;
            case "Isolated" -> ISOLATED;
            case "MergedWithPrevious" -> MERGED_WITH_PREVIOUS;
            case "MergedWithNext" -> MERGED_WITH_NEXT;
            case "Contiguous" -> CONTIGUOUS;
            default ->
                throw spec.wrong("'" + field + "' must be Removed, Isolated, MergedWithPrevious, MergedWithNext "
                        + "or Contiguous, found '" + spec.text(field) + "'");
        };
    }

    Cutter cutter() {
        return new Cutter(this);
    }

    /// Takes the stretches of a text from left to right and makes pieces of them.
    static final class Cutter {
        private final SplitBehavior behavior;
        private final List<int[]> ranges = new ArrayList<>();
        private boolean afterDelimiter;
        private boolean joinNext;

        private Cutter(SplitBehavior behavior) {
            this.behavior = behavior;
        }

        void add(int start, int end, boolean delimiter) {
            boolean join = !ranges.isEmpty()
                    && switch (behavior) {
                        case REMOVED, ISOLATED -> false;
                        case MERGED_WITH_PREVIOUS -> delimiter && !afterDelimiter;
                        case MERGED_WITH_NEXT -> joinNext && !delimiter;
                        case CONTIGUOUS -> delimiter == afterDelimiter;
                    };
            if (join) {
                ranges.getLast()[1] = end;
            } else if (!delimiter || behavior != REMOVED) {
                ranges.add(new int[] {start, end});
            }
            afterDelimiter = delimiter;
            joinNext = delimiter;
        }

        List<PreTokenizer.Piece> cut(PreTokenizer.Piece piece) {
            List<PreTokenizer.Piece> pieces = new ArrayList<>(ranges.size());
            for (int[] range : ranges) {
                pieces.add(new PreTokenizer.Piece(
                        piece.text().substring(range[0], range[1]), piece.first() && range[0] == 0));
            }
            return pieces;
        }
    }
}
