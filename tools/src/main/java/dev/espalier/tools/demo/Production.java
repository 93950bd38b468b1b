package dev.espalier.tools.demo;

import dev.espalier.tools.demo.Lexicon.Item;
import dev.espalier.tools.demo.Lexicon.Person;
import dev.espalier.tools.demo.Lexicon.Place;
import dev.espalier.tools.demo.Lexicon.Spot;
import dev.espalier.tools.demo.Lexicon.Thing;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.EnumMap;
import java.util.HashMap;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.function.BiConsumer;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/// One production of the story grammar: a sentence pattern of words and slots, used in both directions.
///
/// A pattern is written with its first letter in lower case (sentences begin with a capital) and holds slots
/// `{type:key}`. The slot types: `name`, `subj` (name or pronoun), `other` (name, or a kinship of the sentence's `S`:
/// "her brother"), `she`, `him`, `her`, `girl`, `rel` (words that agree with a person), `the`, `a` (an item), `to`, `at`
/// (a place), `spot`, `num`, `food`, `more` (a counted thing: "two more plums"), `things`, `was` (a verb that agrees
/// with a number), `weather`, `aweather`, `phrase`, `time`, `when`, `adv`.
///
/// @param kind what the sentence says
/// @param parts words and slots in order
/// @param keys the slots' keys that an event must bind to be said with this pattern
record Production(Kind kind, List<Part> parts, Set<String> keys) {
    /// What a sentence can say.
    enum Kind {
        INTRO,
        LIFE,
        RELATIVE,
        SETTING,
        ARRIVE,
        OWN,
        OWN_COUNT,
        HAVE_COUNT,
        FIND,
        MORE,
        GIVE,
        ASK_GIVE,
        SWAP,
        PUT,
        PICK,
        GO_BACK,
        GIVE_COUNT,
        EAT,
        MOVE,
        MOVE_BOTH,
        FOLLOW,
        THANK,
        NOW_HOLD,
        STILL_HOLD,
        LIES_AT,
        LIES_ON,
        NOW_COUNT,
        LEFT_COUNT,
        ONLY_LEFT,
        STILL_COUNT,
        BOTH_COUNT,
        TOGETHER,
        PLEASED,
        MISS,
        FEEL,
        FEEL_BOTH,
        WEATHER,
        ASK_WHO,
        ASK_WHERE,
        ASK_MANY,
        HAD_IT,
        WAS_AT,
        SAY_WHERE,
        SAY_AT,
        SAY_ON,
        SAY_MINE,
        SAY_MANY,
        SAY_NUMBER,
        SAY_WHO_WHERE,
        SAY_PERSON_AT,
        EVENING,
        KEEP,
        FEEL_END,
        REQUEST,
        END_WHO,
        END_WHERE,
        END_MANY
    }

    /// A word sequence (`type` null) or a slot.
    record Part(String text, String type, String key) {}

    /// A pronoun whose person the sentence itself does not name.
    record Pronoun(boolean female) {}

    /// "her brother": the person who is that to the sentence's subject.
    record Kin(String word) {}

    /// All productions, in the order in which they are written below.
    static final List<Production> ALL = new ArrayList<>();
    /// The same, by what they say.
    static final Map<Kind, List<Production>> BY_KIND = new EnumMap<>(Kind.class);

    private static final Pattern SLOT = Pattern.compile("\\{(\\w+)(?::(\\w+))?}");

    private static void say(Kind kind, String... patterns) {
        for (String pattern : patterns) {
            List<Part> parts = new ArrayList<>();
            Set<String> keys = new LinkedHashSet<>();
            Matcher m = SLOT.matcher(pattern);
            int at = 0;
            while (m.find()) {
                if (m.start() > at) {
                    parts.add(new Part(pattern.substring(at, m.start()), null, null));
                }
                String type = m.group(1);
                String key = m.group(2) == null ? defaultKey(type) : m.group(2);
                parts.add(new Part(null, type, key));
                if (!type.equals("adv")) {
                    keys.add(key);
                }
                at = m.end();
            }
            parts.add(new Part(pattern.substring(at), null, null));
            Production p = new Production(kind, List.copyOf(parts), Set.copyOf(keys));
            ALL.add(p);
            BY_KIND.computeIfAbsent(kind, _ -> new ArrayList<>()).add(p);
        }
    }

    private static String defaultKey(String type) {
        return switch (type) {
            case "to", "at" -> "place";
            case "aweather" -> "weather";
            case "things" -> "thing";
            default -> type;
        };
    }

    static {
        say(
                Kind.INTRO,
                "one {weather} {time} {name:S} and {her:S} {rel:B} {name:B} were {at}.",
                "it was {aweather} {time}, and {name:S} was {at} with {her:S} {rel:B} {name:B}.",
                "on {aweather} {time} {name:S} went to {to} with {her:S} {rel:B} {name:B}.");
        say(
                Kind.LIFE,
                "once there was a {girl:S} named {name:S}.",
                "in a small village there lived a {girl:S} named {name:S}.");
        say(Kind.RELATIVE, "{subj:S} had a {rel:B} named {name:B}.", "{her:S} {rel:B} was called {name:B}.");
        say(
                Kind.SETTING,
                "one {weather} {time} they were {at} together.",
                "one {weather} {time} they went to {to}.",
                "on {aweather} {time} {name:S} and {name:B} were {at}.");
        say(
                Kind.ARRIVE,
                "{adv}{name:C} came to {to}.",
                "{adv}their friend {name:C} came along.",
                "there they met {name:C}.");
        say(
                Kind.OWN,
                "{subj:S} had {a:obj}.",
                "{subj:S} was carrying {a:obj}.",
                "{subj:S} had brought {a:obj}.",
                "{subj:S} had {a:obj} with {him:S}.");
        say(Kind.OWN_COUNT, "{subj:S} had {num:n} in {her:S} bag.", "{subj:S} had brought {num:n}.");
        say(Kind.HAVE_COUNT, "{subj:S} had {num:n}.");
        say(Kind.FIND, "{adv}{subj:S} found {a:obj} {spot}.", "{adv}{subj:S} saw {a:obj} {spot} and picked it up.");
        say(Kind.MORE, "{adv}{subj:S} found {more:k}.", "{adv}{subj:S} got {more:k}.");
        say(
                Kind.GIVE,
                "{adv}{subj:S} gave {the:obj} to {other:B}.",
                "{adv}{subj:S} gave {other:B} {the:obj}.",
                "{adv}{subj:S} handed {the:obj} to {other:B}.",
                "{adv}{subj:S} let {other:B} have {the:obj}.");
        say(
                Kind.ASK_GIVE,
                "{adv}{name:S} asked {name:B} for {the:obj}, and {name:B} gave it to {him:S}.",
                "{name:S} wanted to have {the:obj}, so {name:B} gave it to {him:S}.");
        say(Kind.SWAP, "{adv}{name:S} gave {the:obj} to {name:B} and got {the:obj2} in return.");
        say(
                Kind.PUT,
                "{adv}{subj:S} put {the:obj} {spot}.",
                "{adv}{subj:S} hid {the:obj} {spot}.",
                "{adv}{subj:S} left {the:obj} {spot}.");
        say(Kind.PICK, "{adv}{subj:S} picked up {the:obj}.", "{adv}{subj:S} took {the:obj}.");
        say(Kind.GO_BACK, "{adv}{subj:S} went to {to} and found {the:obj} {spot}.");
        say(Kind.GIVE_COUNT, "{adv}{subj:S} gave {num:k} to {other:B}.", "{adv}{subj:S} gave {other:B} {num:k}.");
        say(Kind.EAT, "{adv}{subj:S} ate {food:k}.", "{subj:S} was hungry and ate {food:k}.");
        say(Kind.MOVE, "{adv}{subj:S} went to {to}.", "{adv}{subj:S} walked to {to}.", "{adv}{subj:S} ran to {to}.");
        say(
                Kind.MOVE_BOTH,
                "{adv}they went to {to}.",
                "{adv}they walked to {to} together.",
                "{when}they went to {to}.",
                "{when}{name:S} and {name:B} walked to {to}.",
                "{adv}{name:S} and {name:B} went to {to}.");
        say(Kind.FOLLOW, "{adv}{name:S} followed {name:B} to {to}.", "{adv}{name:S} came to {to} too.");
        say(
                Kind.THANK,
                "{subj:S} thanked {other:B}.",
                "{subj:S} smiled and thanked {other:B}.",
                "\"thank you, {name:B},\" said {name:S}.",
                "\"thank you very much,\" said {name:S} to {name:B}.");
        say(Kind.NOW_HOLD, "now {subj:S} had {the:obj}.", "now {the:obj} was in the hands of {name:S}.");
        say(Kind.STILL_HOLD, "{subj:S} still had {the:obj}.", "{subj:S} held {the:obj} tightly.");
        say(Kind.LIES_AT, "{the:obj} was still {at}.");
        say(Kind.LIES_ON, "{the:obj} was still {spot}.");
        say(Kind.NOW_COUNT, "now {subj:S} had {num:n}.");
        say(Kind.LEFT_COUNT, "{subj:S} had {num:n} left.");
        say(Kind.ONLY_LEFT, "only {num:n} {was:n} left.");
        say(Kind.STILL_COUNT, "{subj:S} still had {num:n}.");
        say(Kind.BOTH_COUNT, "now {name:S} had {num:n}, and {name:B} had {num:m}.");
        say(Kind.TOGETHER, "together they had {num:n}.");
        say(
                Kind.PLEASED,
                "{subj:S} was happy because {she:S} had {the:obj}.",
                "{subj:S} liked {the:obj} very much.",
                "{subj:S} was proud of {the:obj}.");
        say(
                Kind.MISS,
                "{subj:S} missed {the:obj}.",
                "{subj:S} was a little sad because {she:S} no longer had {the:obj}.");
        say(
                Kind.FEEL,
                "{subj:S} laughed.",
                "{subj:S} was happy.",
                "{subj:S} sang a song.",
                "{subj:S} sat down and rested.",
                "{subj:S} looked around.");
        say(
                Kind.FEEL_BOTH,
                "they laughed.",
                "they sat down and rested.",
                "they sang a song together.",
                "{name:S} and {name:B} were happy.");
        say(Kind.WEATHER, "{phrase}.");
        say(Kind.ASK_WHO, "who had {the:obj} now?");
        say(Kind.ASK_WHERE, "where was {the:obj}?");
        say(Kind.ASK_MANY, "how many {things} did {name:S} have now?");
        say(Kind.HAD_IT, "{name:S} had it.");
        say(Kind.WAS_AT, "it was {at}.");
        say(Kind.SAY_WHERE, "\"where is {the:obj}?\" asked {name:S}.");
        say(Kind.SAY_AT, "\"it is {at},\" said {name:S}.");
        say(Kind.SAY_ON, "\"it is {spot},\" said {name:S}.");
        say(Kind.SAY_MINE, "\"I have it,\" said {name:S}.");
        say(Kind.SAY_MANY, "\"how many {things} do you have?\" asked {name:S}.");
        say(Kind.SAY_NUMBER, "\"I have {num:n},\" said {name:S}.");
        say(Kind.SAY_WHO_WHERE, "\"where is {name:C}?\" asked {name:S}.");
        say(Kind.SAY_PERSON_AT, "\"{she:C} is {at},\" said {name:S}.");
        say(Kind.EVENING, "in the evening {name:S} and {name:B} went home.", "in the evening they went home together.");
        say(Kind.KEEP, "{subj:S} took {the:obj} with {him:S}.", "{subj:S} kept {the:obj} for many years.");
        say(
                Kind.FEEL_END,
                "they were tired but happy.",
                "it had been a good day.",
                "it was a day that they never forgot.",
                "{name:S} and {name:B} slept well that night.");
        say(
                Kind.REQUEST,
                "tell me a story about {name:S}.",
                "tell me a story about {name:S} and {name:B}.",
                "tell me a story about {name:S} and {a:obj}.",
                "please tell me a story.");
        say(Kind.END_WHO, "who had {the:obj} at the end?");
        say(Kind.END_WHERE, "where was {the:obj} at the end?");
        say(Kind.END_MANY, "how many {things} did {name:S} have at the end?");
    }

    // ------------------------------------------------------------------------------------------ saying

    /// The sentence for the event, which must bind all keys; `subject` is whom a pronoun would mean (or null).
    String render(Map<String, Object> event, Person subject, boolean siblings, List<Person> pair, StoryRandom random) {
        StringBuilder out = new StringBuilder();
        for (Part part : parts) {
            out.append(part.type == null ? part.text : surface(part, event, subject, siblings, pair, random));
        }
        return capitalized(out.toString());
    }

    private static String surface(
            Part part,
            Map<String, Object> event,
            Person subject,
            boolean siblings,
            List<Person> pair,
            StoryRandom random) {
        Object value = event.get(part.key);
        return switch (part.type) {
            case "adv" -> random.chance(70) ? "" : random.pick(Lexicon.ADVERBS);
            case "name" -> ((Person) value).name();
            case "subj" ->
                value.equals(subject) && random.chance(70)
                        ? Lexicon.pronoun(subject.female())
                        : ((Person) value).name();
            case "other" -> {
                Person s = (Person) event.get("S");
                Person p = (Person) value;
                boolean kin = pair.contains(s) && pair.contains(p) && random.chance(25);
                yield kin ? Lexicon.possessive(s.female()) + " " + Lexicon.relation(siblings, p) : p.name();
            }
            case "she" -> Lexicon.pronoun(((Person) value).female());
            case "him" -> Lexicon.object(((Person) value).female());
            case "her" -> Lexicon.possessive(((Person) value).female());
            case "girl" -> ((Person) value).female() ? "girl" : "boy";
            case "rel" -> Lexicon.relation(siblings, (Person) value);
            case "the" -> (random.chance(50) ? (Item) value : new Item(null, ((Item) value).noun())).definite();
            case "a" -> ((Item) value).indefinite();
            case "to" -> ((Place) value).to();
            case "at" -> ((Place) value).at();
            case "spot" -> ((Spot) value).phrase();
            case "num", "food" -> ((Thing) event.get("thing")).counted((Integer) value);
            case "more" -> ((Thing) event.get("thing")).more((Integer) value);
            case "things" -> ((Thing) value).plural();
            case "was" -> ((Integer) value) == 1 ? "was" : "were";
            case "aweather" -> Lexicon.article((String) value) + " " + value;
            case "weather", "time", "when", "phrase" -> (String) value;
            default -> throw new IllegalStateException(part.type);
        };
    }

    // ------------------------------------------------------------------------------------------ reading

    /// All events that the sentence can be read as with this pattern, as maps from key to value.
    List<Map<String, Object>> parse(String sentence) {
        List<Map<String, Object>> found = new ArrayList<>();
        match(0, sentence, 0, Map.of(), found);
        return found;
    }

    private void match(int index, String text, int at, Map<String, Object> bound, List<Map<String, Object>> found) {
        if (index == parts.size()) {
            if (at == text.length()) {
                found.add(bound);
            }
            return;
        }
        Part part = parts.get(index);
        if (part.type == null) {
            if (text.startsWith(part.text, at)) {
                match(index + 1, text, at + part.text.length(), bound, found);
            }
            return;
        }
        candidates(part, bound, (surface, pairs) -> {
            if (text.startsWith(surface, at)) {
                Map<String, Object> next = bind(bound, pairs);
                if (next != null) {
                    match(index + 1, text, at + surface.length(), next, found);
                }
            }
        });
    }

    /// Every surface of a slot with the keys and values that it binds.
    private static void candidates(Part part, Map<String, Object> bound, BiConsumer<String, List<Object>> each) {
        String key = part.key;
        String gender = key + "#female";
        switch (part.type) {
            case "adv" -> Lexicon.ADVERBS.forEach(a -> each.accept(a, List.of()));
            case "name" -> Lexicon.PEOPLE.forEach(p -> each.accept(p.name(), List.of(key, p, gender, p.female())));
            case "subj" -> {
                Lexicon.PEOPLE.forEach(p -> each.accept(p.name(), List.of(key, p, gender, p.female())));
                for (boolean female : new boolean[] {true, false}) {
                    each.accept(Lexicon.pronoun(female), List.of(key, new Pronoun(female), gender, female));
                }
            }
            case "other" -> {
                Lexicon.PEOPLE.forEach(p -> each.accept(p.name(), List.of(key, p, gender, p.female())));
                for (boolean owner : new boolean[] {true, false}) {
                    String whose = Lexicon.possessive(owner) + " ";
                    each.accept(whose + "friend", List.of(key, new Kin("friend"), "S#female", owner));
                    each.accept(whose + "sister", List.of(key, new Kin("sister"), "S#female", owner, gender, true));
                    each.accept(whose + "brother", List.of(key, new Kin("brother"), "S#female", owner, gender, false));
                }
            }
            case "she", "him", "her", "girl" -> {
                for (boolean female : new boolean[] {true, false}) {
                    String word = switch (part.type) {
                        case "she" -> Lexicon.pronoun(female);
                        case "him" -> Lexicon.object(female);
                        case "her" -> Lexicon.possessive(female);
                        default -> female ? "girl" : "boy";
                    };
                    each.accept(word, List.of(gender, female));
                }
            }
            case "rel" -> {
                each.accept("friend", List.of("siblings", false));
                each.accept("sister", List.of("siblings", true, gender, true));
                each.accept("brother", List.of("siblings", true, gender, false));
            }
            case "the" -> Lexicon.MENTIONS.forEach(i -> each.accept(i.definite(), List.of(key, i)));
            case "a" -> Lexicon.ITEMS.forEach(i -> each.accept(i.indefinite(), List.of(key, i)));
            case "to" -> Lexicon.PLACES.forEach(p -> each.accept(p.to(), List.of(key, p)));
            case "at" -> Lexicon.PLACES.forEach(p -> each.accept(p.at(), List.of(key, p)));
            case "spot" -> Lexicon.SPOTS.forEach(s -> each.accept(s.phrase(), List.of(key, s)));
            case "num", "food", "more" -> {
                boolean more = part.type.equals("more");
                boolean given = key.equals("k");
                for (Thing t : Lexicon.THINGS) {
                    if (part.type.equals("food") && !t.edible()) {
                        continue;
                    }
                    for (int n = given ? 1 : 0; n <= Lexicon.MOST; n++) {
                        each.accept(more ? t.more(n) : t.counted(n), List.of(key, n, "thing", t));
                    }
                }
            }
            case "things" -> Lexicon.THINGS.forEach(t -> each.accept(t.plural(), List.of(key, t)));
            case "was" -> each.accept(bound.get(key).equals(1) ? "was" : "were", List.of());
            case "weather" -> Lexicon.WEATHERS.forEach(w -> each.accept(w, List.of(key, w)));
            case "aweather" ->
                Lexicon.WEATHERS.forEach(w -> each.accept(Lexicon.article(w) + " " + w, List.of(key, w)));
            case "phrase" ->
                Lexicon.WEATHERS.forEach(w ->
                        Lexicon.weatherPhrases(w).forEach(s -> each.accept(s, List.of(key, s, "weather", w))));
            case "time" -> Lexicon.TIMES.forEach(t -> each.accept(t, List.of(key, t)));
            case "when" -> Lexicon.WHENS.forEach(w -> each.accept(w, List.of(key, w)));
            default -> throw new IllegalStateException(part.type);
        }
    }

    /// `bound` with the pairs (key, value, key, value, ...) added, or null where they contradict it.
    private static Map<String, Object> bind(Map<String, Object> bound, List<Object> pairs) {
        if (pairs.isEmpty()) {
            return bound;
        }
        Map<String, Object> next = new HashMap<>(bound);
        for (int i = 0; i < pairs.size(); i += 2) {
            String key = (String) pairs.get(i);
            Object value = pairs.get(i + 1);
            Object old = next.get(key);
            if (old != null ? !old.equals(value) : repeats(next, value)) {
                return null;
            }
            next.put(key, value);
        }
        if (next.get("place") instanceof Place p && next.get("spot") instanceof Spot s && p.indoor() != s.indoor()) {
            return null;
        }
        return next;
    }

    /// Whether the value, for a new key, is somebody or something that another key of the sentence already names.
    private static boolean repeats(Map<String, Object> bound, Object value) {
        return switch (value) {
            case Person p -> bound.containsValue(p);
            case Item i ->
                bound.values().stream()
                        .anyMatch(v -> v instanceof Item o && o.noun().equals(i.noun()));
            default -> false;
        };
    }

    // ------------------------------------------------------------------------------------------ capitals

    static String capitalized(String sentence) {
        int at = sentence.startsWith("\"") ? 1 : 0;
        return sentence.substring(0, at) + Character.toUpperCase(sentence.charAt(at)) + sentence.substring(at + 1);
    }

    /// The forms that a written sentence can have in the patterns: as it is (it begins with a name or "I"), and with a
    /// small first letter; none if it does not begin with a capital.
    static List<String> uncapitalized(String sentence) {
        int at = sentence.startsWith("\"") ? 1 : 0;
        if (sentence.length() <= at || !Character.isUpperCase(sentence.charAt(at))) {
            return List.of();
        }
        String small =
                sentence.substring(0, at) + Character.toLowerCase(sentence.charAt(at)) + sentence.substring(at + 1);
        return Arrays.asList(sentence, small);
    }
}
