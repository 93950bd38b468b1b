package dev.espalier.tools.demo;

import java.util.List;
import java.util.stream.Stream;

/// The words of the stories: who, what, where, how many.
final class Lexicon {
    private Lexicon() {}

    /// Somebody with a name.
    record Person(String name, boolean female) {}

    /// One thing that can be held, given and put down; an `adjective` of null is a short mention ("the kite").
    record Item(String adjective, String noun) {
        String definite() {
            return adjective == null ? "the " + noun : "the " + adjective + " " + noun;
        }

        String indefinite() {
            return article(adjective) + " " + adjective + " " + noun;
        }
    }

    /// Things that are counted.
    record Thing(String singular, String plural, boolean edible) {
        String counted(int n) {
            return NUMBERS.get(n) + " " + (n == 1 ? singular : plural);
        }

        String more(int n) {
            return NUMBERS.get(n) + " more " + (n == 1 ? singular : plural);
        }
    }

    record Place(String preposition, String noun, boolean indoor) {
        String to() {
            return "the " + noun;
        }

        String at() {
            return preposition + " the " + noun;
        }
    }

    /// A spot inside a place; `indoor` says in which kind of place it can be.
    record Spot(String phrase, boolean indoor) {}

    static final List<String> NUMBERS = List.of(
            "no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve");
    static final int MOST = NUMBERS.size() - 1;

    static final List<Person> PEOPLE = Stream.concat(
                    Stream.of(
                                    "Mia", "Anna", "Ella", "Rosa", "Lily", "Nora", "Clara", "Ida", "Ruth", "Zoe",
                                    "Emma", "Greta")
                            .map(n -> new Person(n, true)),
                    Stream.of("Tom", "Ben", "Max", "Leo", "Sam", "Otto", "Finn", "Jack", "Paul", "Noah", "Hugo", "Karl")
                            .map(n -> new Person(n, false)))
            .toList();

    private static final List<String> ADJECTIVES =
            List.of("red", "blue", "green", "yellow", "white", "orange", "old", "new", "small", "big", "odd");
    private static final List<String> MATERIALS = List.of("shiny", "wooden", "silver", "golden", "heavy");
    private static final List<String> SOFT =
            List.of("kite", "map", "book", "ball", "rope", "scarf", "letter", "umbrella", "hat");
    private static final List<String> HARD =
            List.of("drum", "lantern", "key", "clock", "ring", "whistle", "boat", "bell", "cup");
    static final List<String> NOUNS =
            Stream.concat(SOFT.stream(), HARD.stream()).toList();
    /// Every thing with every adjective that suits it: a cup can be of silver, a scarf cannot.
    static final List<Item> ITEMS = Stream.concat(
                    NOUNS.stream().flatMap(n -> ADJECTIVES.stream().map(a -> new Item(a, n))),
                    HARD.stream().flatMap(n -> MATERIALS.stream().map(a -> new Item(a, n))))
            .toList();
    static final List<Item> MENTIONS = Stream.concat(NOUNS.stream().map(n -> new Item(null, n)), ITEMS.stream())
            .toList();

    static final List<Thing> THINGS = List.of(
            new Thing("apple", "apples", true),
            new Thing("pear", "pears", true),
            new Thing("plum", "plums", true),
            new Thing("cherry", "cherries", true),
            new Thing("nut", "nuts", true),
            new Thing("cookie", "cookies", true),
            new Thing("berry", "berries", true),
            new Thing("carrot", "carrots", true),
            new Thing("shell", "shells", false),
            new Thing("button", "buttons", false),
            new Thing("coin", "coins", false),
            new Thing("stone", "stones", false),
            new Thing("feather", "feathers", false),
            new Thing("marble", "marbles", false));

    static final List<Place> PLACES = List.of(
            new Place("in", "kitchen", true),
            new Place("in", "barn", true),
            new Place("in", "attic", true),
            new Place("in", "library", true),
            new Place("in", "cellar", true),
            new Place("at", "mill", true),
            new Place("at", "station", true),
            new Place("at", "school", true),
            new Place("in", "garden", false),
            new Place("in", "forest", false),
            new Place("in", "meadow", false),
            new Place("at", "market", false),
            new Place("at", "harbour", false),
            new Place("by", "river", false),
            new Place("by", "lake", false),
            new Place("by", "well", false),
            new Place("on", "hill", false),
            new Place("on", "beach", false),
            new Place("on", "bridge", false),
            new Place("on", "island", false));
    /// Where a story ends: no sentence can name it as a place to go to before the evening.
    static final Place HOME = new Place("at", "house", true);

    static final List<Spot> SPOTS = List.of(
            new Spot("on the table", true),
            new Spot("on the shelf", true),
            new Spot("behind the door", true),
            new Spot("under the stairs", true),
            new Spot("under the window", true),
            new Spot("in an old chest", true),
            new Spot("behind a tree", false),
            new Spot("under a bush", false),
            new Spot("under a bench", false),
            new Spot("on a flat stone", false),
            new Spot("in the tall grass", false),
            new Spot("next to a fence", false));

    static final List<String> WEATHERS = List.of("sunny", "warm", "rainy", "windy", "snowy", "foggy", "icy");
    static final List<String> TIMES = List.of("morning", "afternoon");
    /// Time adverbs of later moves, in the order in which a day knows them.
    static final List<String> WHENS = List.of("at noon ", "in the afternoon ");
    static final List<String> ADVERBS = List.of("", "then ", "soon ", "after a while ", "a little later ");

    /// What can be said about the weather, each phrase under the only weather that it fits.
    static List<String> weatherPhrases(String weather) {
        return switch (weather) {
            case "sunny" -> List.of("the sun was shining", "there was not a cloud in the sky");
            case "warm" -> List.of("the air was mild", "a warm breeze came from the south");
            case "rainy" -> List.of("the rain fell softly", "the rain did not stop");
            case "windy" -> List.of("the wind blew through the trees", "the wind was strong");
            case "snowy" -> List.of("the snow was deep and white", "more snow was falling");
            case "foggy" -> List.of("the fog was thick", "nothing could be seen in the fog");
            case "icy" -> List.of("the ice was slippery", "everything was covered with ice");
            default -> throw new IllegalArgumentException(weather);
        };
    }

    static String article(String next) {
        return "aeiou".indexOf(next.charAt(0)) >= 0 ? "an" : "a";
    }

    static String pronoun(boolean female) {
        return female ? "she" : "he";
    }

    static String object(boolean female) {
        return female ? "her" : "him";
    }

    static String possessive(boolean female) {
        return female ? "her" : "his";
    }

    /// What `person` is to the other of the pair.
    static String relation(boolean siblings, Person person) {
        if (!siblings) {
            return "friend";
        }
        return person.female() ? "sister" : "brother";
    }
}
