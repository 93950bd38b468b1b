package dev.espalier.tools.demo;

import dev.espalier.tools.demo.Lexicon.Item;
import dev.espalier.tools.demo.Lexicon.Person;
import dev.espalier.tools.demo.Lexicon.Place;
import dev.espalier.tools.demo.Lexicon.Spot;
import dev.espalier.tools.demo.Lexicon.Thing;
import dev.espalier.tools.demo.Production.Kind;
import dev.espalier.tools.demo.StoryWorld.Holding;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.stream.Stream;

/// Writes English stories from a grammar over a small world: the text that the embedded models are trained,
/// calibrated and evaluated on.
///
/// Whoever predicts these stories needs memory: people keep their names, gender and kinship; things change hands, are
/// put down and are found where they were left; counts go up and down and are told correctly; the weather stays. Every
/// sentence agrees with those before it, which [StoryParser] checks.
///
/// A grammar is an endless sequence of stories that depends on its seed alone, the same on every machine and JDK. It is
/// not safe for use by several threads.
public final class StoryGrammar {
    /// The seed of the text that the embedded models were trained on.
    public static final long TRAINING_SEED = 1;
    /// The seed of the text for calibration.
    public static final long CALIBRATION_SEED = 2;
    /// The seed of the text for evaluation, which no model has seen.
    public static final long HELD_OUT_SEED = 3;

    /// What stands between two stories of a text.
    public static final String SEPARATOR = "\n\n";

    /// One turn of a talk about a story.
    ///
    /// @param request what the reader asks for
    /// @param reply what the teller answers
    public record Turn(String request, String reply) {}

    private final StoryRandom random;
    private StoryWorld world;
    private List<String> sentences;
    /// What was asked or told since it last changed: nobody says it again.
    private final Set<Object> told = new HashSet<>();

    private StoryGrammar(long seed) {
        random = new StoryRandom(seed);
    }

    /// The sequence of stories of the seed, at its beginning.
    public static StoryGrammar of(long seed) {
        return new StoryGrammar(seed);
    }

    /// The next story: one paragraph of about 15 sentences.
    public String story() {
        write();
        return String.join(" ", sentences);
    }

    /// The stories from here on, without end.
    public Stream<String> stories() {
        return Stream.generate(this::story);
    }

    /// The next stories, separated by blank lines, as many as it takes to reach `characters`.
    ///
    /// @throws IllegalArgumentException if `characters` is not positive
    public String text(int characters) {
        if (characters <= 0) {
            throw new IllegalArgumentException("characters must be positive, not " + characters);
        }
        StringBuilder out = new StringBuilder();
        while (out.length() < characters) {
            if (!out.isEmpty()) {
                out.append(SEPARATOR);
            }
            out.append(story());
        }
        return out.toString();
    }

    /// The next talk: a reader asks for a story, and then about how it ended.
    public List<Turn> talk() {
        String story = story();
        List<Turn> turns = new ArrayList<>();
        turns.add(new Turn(request(), story));
        int questions = random.below(4);
        for (int i = 0; i < questions; i++) {
            turns.add(question());
        }
        return turns;
    }

    // ------------------------------------------------------------------------------------------ a story

    private void write() {
        world = new StoryWorld();
        sentences = new ArrayList<>();
        told.clear();
        open();
        props();
        int steps = 4 + random.below(5);
        for (int i = 0; i < steps; i++) {
            step();
        }
        close();
    }

    /// Takes a sentence into the world and writes it down.
    private void tell(Kind kind, Object... pairs) {
        Map<String, Object> event = new HashMap<>();
        for (int i = 0; i < pairs.length; i += 2) {
            event.put((String) pairs[i], pairs[i + 1]);
        }
        Person subject = world.subject;
        List<Person> pair = world.pair();
        boolean siblings = event.get("siblings") instanceof Boolean value ? value : world.siblings;
        boolean timed = event.containsKey("when");
        List<Production> fitting = Production.BY_KIND.get(kind).stream()
                .filter(p -> event.keySet().containsAll(p.keys()) && p.keys().contains("when") == timed)
                .toList();
        world.accept(kind, event);
        remember(kind, event);
        sentences.add(random.pick(fitting).render(event, subject, siblings, pair, random));
    }

    private void remember(Kind kind, Map<String, Object> event) {
        switch (kind) {
            case OWN,
                    FIND,
                    PICK,
                    GO_BACK,
                    NOW_HOLD,
                    STILL_HOLD,
                    PLEASED,
                    LIES_AT,
                    LIES_ON,
                    ASK_WHO,
                    ASK_WHERE,
                    SAY_WHERE -> told.add(event.get("obj"));
            case GIVE, ASK_GIVE, PUT -> told.remove(event.get("obj"));
            case SWAP -> {
                told.remove(event.get("obj"));
                told.remove(event.get("obj2"));
            }
            case OWN_COUNT, HAVE_COUNT, NOW_COUNT, LEFT_COUNT, ONLY_LEFT, BOTH_COUNT, SAY_MANY ->
                told.add(event.get("thing"));
            case GIVE_COUNT, EAT, MORE -> told.remove(event.get("thing"));
            default -> {}
        }
    }

    private Person stranger() {
        while (true) {
            Person p = random.pick(Lexicon.PEOPLE);
            if (!p.equals(world.a) && !p.equals(world.b)) {
                return p;
            }
        }
    }

    private void open() {
        Person a = stranger();
        Person b = a;
        while (b.equals(a)) {
            b = stranger();
        }
        boolean siblings = random.chance(50);
        String weather = random.pick(Lexicon.WEATHERS);
        String time = Lexicon.TIMES.get(random.chance(70) ? 0 : 1);
        Place place = random.pick(Lexicon.PLACES);
        if (random.chance(50)) {
            tell(Kind.INTRO, "S", a, "B", b, "siblings", siblings, "weather", weather, "time", time, "place", place);
        } else {
            tell(Kind.LIFE, "S", a);
            tell(Kind.RELATIVE, "S", a, "S#female", a.female(), "B", b, "siblings", siblings);
            tell(Kind.SETTING, "S", a, "B", b, "weather", weather, "time", time, "place", place);
        }
        if (random.chance(40)) {
            weather();
        }
    }

    private void weather() {
        String phrase = random.pick(Lexicon.weatherPhrases(world.weather));
        if (told.add(phrase)) {
            tell(Kind.WEATHER, "phrase", phrase);
        }
    }

    private Item newItem() {
        while (true) {
            Item item = random.pick(Lexicon.ITEMS);
            if (!world.items.containsKey(item.noun())) {
                return item;
            }
        }
    }

    private void props() {
        tell(Kind.OWN, "S", world.a, "obj", newItem());
        int more = random.below(100);
        Thing thing = random.pick(Lexicon.THINGS);
        if (more < 35) {
            ownCount(world.a, thing);
        } else if (more < 65) {
            ownCount(world.b, thing);
        }
        if (random.chance(45)) {
            tell(Kind.OWN, "S", world.b, "obj", newItem());
        }
    }

    private void ownCount(Person p, Thing thing) {
        Kind kind = random.chance(50) ? Kind.OWN_COUNT : Kind.HAVE_COUNT;
        tell(kind, "S", p, "thing", thing, "n", 2 + random.below(7));
    }

    /// What may happen next, each weighted by how often it stands in the list.
    private void step() {
        List<Runnable> choices = new ArrayList<>();
        for (Holding h : world.items.values()) {
            choices.addAll(stepsWith(h));
        }
        world.counts.forEach((p, byThing) -> byThing.forEach((t, n) -> choices.addAll(stepsWith(p, t, n))));
        choices.addAll(moves());
        if (world.items.size() < 3) {
            Person p = random.pick(world.cast());
            choices.add(() -> tell(Kind.FIND, "S", p, "obj", newItem(), "spot", spot(world.where.get(p))));
        }
        choices.add(this::mood);
        random.pick(choices).run();
    }

    private Spot spot(Place place) {
        return random.pick(
                Lexicon.SPOTS.stream().filter(s -> s.indoor() == place.indoor()).toList());
    }

    private List<Runnable> stepsWith(Holding h) {
        List<Runnable> choices = new ArrayList<>();
        Item item = h.item;
        if (h.holder == null) {
            List<Person> here = world.peopleAt(h.place);
            if (!here.isEmpty()) {
                choices.add(() -> {
                    tell(Kind.PICK, "S", random.pick(here), "obj", item);
                    afterTaking(h);
                });
            }
            Person far = random.pick(world.cast());
            if (!here.contains(far)) {
                Runnable back = () -> {
                    tell(Kind.GO_BACK, "S", far, "place", h.place, "obj", item, "spot", h.spot);
                    afterTaking(h);
                };
                choices.add(back);
                choices.add(back);
                if (!told.contains(item)) {
                    choices.add(() -> tell(Kind.LIES_AT, "obj", item, "place", h.place));
                    choices.add(() -> {
                        tell(Kind.ASK_WHERE, "obj", item);
                        tell(Kind.WAS_AT, "place", h.place);
                    });
                }
            } else if (!told.contains(item)) {
                choices.add(() -> tell(Kind.LIES_ON, "obj", item, "spot", h.spot));
            }
            choices.add(() -> talkAbout(h));
        } else {
            Person holder = h.holder;
            List<Person> others = new ArrayList<>(world.peopleAt(world.where.get(holder)));
            others.remove(holder);
            if (!others.isEmpty()) {
                Runnable give = () -> give(h, random.pick(others));
                choices.add(give);
                choices.add(give);
                choices.add(give);
                for (Holding other : world.items.values()) {
                    if (others.contains(other.holder)) {
                        choices.add(() -> {
                            tell(Kind.SWAP, "S", holder, "B", other.holder, "obj", item, "obj2", other.item);
                            afterTaking(random.chance(50) ? h : other);
                        });
                    }
                }
                if (!told.contains(item)) {
                    choices.add(() -> talkAbout(h));
                }
            }
            choices.add(() -> {
                tell(Kind.PUT, "S", holder, "obj", item, "spot", spot(world.where.get(holder)));
                if (random.chance(50)) {
                    moves().getFirst().run();
                }
            });
            if (!told.contains(item)) {
                choices.add(() -> {
                    tell(Kind.ASK_WHO, "obj", item);
                    tell(Kind.HAD_IT, "S", holder);
                });
                choices.add(() -> tell(Kind.STILL_HOLD, "S", holder, "obj", item));
            }
        }
        for (Person p : h.earlier) {
            if (!p.equals(h.holder) && p.equals(world.subject)) {
                choices.add(() -> tell(Kind.MISS, "S", p, "obj", item));
            }
        }
        return choices;
    }

    private void give(Holding h, Person to) {
        Person from = h.holder;
        if (random.chance(30)) {
            tell(Kind.ASK_GIVE, "S", to, "B", from, "obj", h.item);
        } else {
            tell(Kind.GIVE, "S", from, "B", to, "obj", h.item);
        }
        if (random.chance(50)) {
            tell(Kind.THANK, "S", to, "B", from);
        }
        afterTaking(h);
    }

    private void afterTaking(Holding h) {
        int what = random.below(100);
        if (what < 25) {
            tell(Kind.NOW_HOLD, "S", h.holder, "obj", h.item);
        } else if (what < 45) {
            tell(Kind.PLEASED, "S", h.holder, "obj", h.item);
        }
    }

    /// Somebody without the thing asks where it is, and somebody beside him answers.
    private void talkAbout(Holding h) {
        Person asker = random.pick(world.cast());
        List<Person> others = new ArrayList<>(world.peopleAt(world.where.get(asker)));
        others.remove(asker);
        if (others.isEmpty() || asker.equals(h.holder)) {
            mood();
            return;
        }
        if (h.holder != null) {
            if (others.contains(h.holder)) {
                tell(Kind.SAY_WHERE, "S", asker, "obj", h.item);
                tell(Kind.SAY_MINE, "S", h.holder);
            } else {
                missing(asker, h.holder, random.pick(others));
            }
            return;
        }
        tell(Kind.SAY_WHERE, "S", asker, "obj", h.item);
        Person speaker = random.pick(others);
        if (world.where.get(asker).equals(h.place)) {
            tell(Kind.SAY_ON, "S", speaker, "spot", h.spot);
        } else {
            tell(Kind.SAY_AT, "S", speaker, "place", h.place);
        }
    }

    private void missing(Person asker, Person who, Person speaker) {
        tell(Kind.SAY_WHO_WHERE, "S", asker, "C", who);
        tell(Kind.SAY_PERSON_AT, "S", speaker, "C", who, "C#female", who.female(), "place", world.where.get(who));
    }

    private List<Runnable> stepsWith(Person p, Thing t, int n) {
        List<Runnable> choices = new ArrayList<>();
        List<Person> others = new ArrayList<>(world.peopleAt(world.where.get(p)));
        others.remove(p);
        if (n > 0 && !others.isEmpty()) {
            Person to = random.pick(others);
            int k = 1 + random.below(Math.min(n, 4));
            if (world.count(to, t) + k <= Lexicon.MOST) {
                Runnable give = () -> {
                    boolean before = world.counted(to, t);
                    tell(Kind.GIVE_COUNT, "S", p, "B", to, "thing", t, "k", k);
                    afterGiving(p, to, t, before);
                };
                choices.add(give);
                choices.add(give);
                choices.add(give);
            }
        }
        if (n > 0 && t.edible()) {
            int k = 1 + random.below(Math.min(n, 3));
            Runnable eat = () -> {
                tell(Kind.EAT, "S", p, "thing", t, "k", k);
                afterLosing(p, t);
            };
            choices.add(eat);
            choices.add(eat);
        }
        if (n > 0 && n <= 6) {
            Runnable more = () -> {
                tell(Kind.MORE, "S", p, "thing", t, "k", 1 + random.below(4));
                if (random.chance(70)) {
                    tell(Kind.NOW_COUNT, "S", p, "thing", t, "n", world.count(p, t));
                }
            };
            choices.add(more);
            choices.add(more);
        }
        if (told.contains(t)) {
            return choices;
        }
        choices.add(() -> {
            tell(Kind.ASK_MANY, "S", p, "thing", t);
            tell(Kind.HAVE_COUNT, "S", p, "thing", t, "n", world.count(p, t));
        });
        if (!others.isEmpty()) {
            choices.add(() -> {
                tell(Kind.SAY_MANY, "S", random.pick(others), "thing", t);
                tell(Kind.SAY_NUMBER, "S", p, "thing", t, "n", world.count(p, t));
            });
        }
        return choices;
    }

    private void afterGiving(Person from, Person to, Thing t, boolean hadSome) {
        if (random.chance(30)) {
            tell(Kind.THANK, "S", to, "B", from);
            if (random.chance(50)) {
                tell(Kind.NOW_COUNT, "S", to, "thing", t, "n", world.count(to, t));
            }
            return;
        }
        int what = random.below(100);
        if (what < 30) {
            afterLosing(from, t);
        } else if (what < 60) {
            tell(Kind.BOTH_COUNT, "S", from, "B", to, "thing", t, "n", world.count(from, t), "m", world.count(to, t));
        } else if (what < 75 && hadSome) {
            tell(Kind.NOW_COUNT, "S", to, "thing", t, "n", world.count(to, t));
        } else if (what < 90 && world.pair().contains(from) && world.pair().contains(to)) {
            int sum = world.count(from, t) + world.count(to, t);
            if (sum <= Lexicon.MOST) {
                tell(Kind.TOGETHER, "thing", t, "n", sum);
            }
        }
    }

    private void afterLosing(Person p, Thing t) {
        int n = world.count(p, t);
        int what = random.below(100);
        if (what < 35) {
            tell(Kind.NOW_COUNT, "S", p, "thing", t, "n", n);
        } else if (what < 65) {
            tell(Kind.LEFT_COUNT, "S", p, "thing", t, "n", n);
        } else if (what < 80 && n > 0) {
            tell(Kind.ONLY_LEFT, "thing", t, "n", n);
        }
    }

    private Place otherPlace(Place than) {
        while (true) {
            Place place = random.pick(Lexicon.PLACES);
            if (!place.equals(than)) {
                return place;
            }
        }
    }

    private List<Runnable> moves() {
        List<Runnable> choices = new ArrayList<>();
        if (world.together()) {
            choices.add(() -> {
                List<Object> pairs = new ArrayList<>(
                        List.of("S", world.a, "B", world.b, "place", otherPlace(world.where.get(world.a))));
                if (world.clock() < Lexicon.WHENS.size() && random.chance(40)) {
                    pairs.add("when");
                    pairs.add(Lexicon.WHENS.get(world.clock() + random.below(Lexicon.WHENS.size() - world.clock())));
                }
                tell(Kind.MOVE_BOTH, pairs.toArray());
                if (random.chance(20)) {
                    mood();
                }
            });
            if (world.c == null) {
                choices.add(() -> {
                    tell(Kind.ARRIVE, "C", stranger(), "place", world.where.get(world.a));
                    if (world.items.size() < 3 && random.chance(50)) {
                        tell(Kind.OWN, "S", world.c, "obj", newItem());
                    }
                });
            }
        }
        Person p = random.pick(world.cast());
        choices.add(() -> tell(Kind.MOVE, "S", p, "place", otherPlace(world.where.get(p))));
        Person q = random.pick(world.cast());
        if (!world.where.get(p).equals(world.where.get(q))) {
            Runnable follow = () -> tell(Kind.FOLLOW, "S", p, "B", q, "place", world.where.get(q));
            choices.add(follow);
            choices.add(follow);
            choices.add(follow);
            List<Person> near = new ArrayList<>(world.peopleAt(world.where.get(p)));
            near.remove(p);
            if (!near.isEmpty()) {
                choices.add(() -> missing(p, q, random.pick(near)));
            }
        }
        return choices;
    }

    private void mood() {
        if (random.chance(35)) {
            weather();
        } else if (world.together() && random.chance(50)) {
            tell(Kind.FEEL_BOTH, "S", world.a, "B", world.b);
        } else {
            tell(Kind.FEEL, "S", world.subject != null ? world.subject : random.pick(world.cast()));
        }
    }

    private void close() {
        tell(Kind.EVENING, "S", world.a, "B", world.b);
        List<Runnable> choices = new ArrayList<>();
        for (Holding h : world.items.values()) {
            if (h.holder == null) {
                choices.add(() -> tell(Kind.LIES_AT, "obj", h.item, "place", h.place));
            } else if (world.pair().contains(h.holder)) {
                choices.add(() -> tell(Kind.KEEP, "S", h.holder, "obj", h.item));
            } else {
                choices.add(() -> tell(Kind.STILL_HOLD, "S", h.holder, "obj", h.item));
            }
        }
        world.counts.forEach((p, byThing) -> byThing.forEach((t, n) -> {
            if (n > 0) {
                choices.add(() -> tell(Kind.STILL_COUNT, "S", p, "thing", t, "n", n));
            }
        }));
        int facts = random.below(3);
        for (int i = 0; i < facts && !choices.isEmpty(); i++) {
            choices.remove(random.below(choices.size())).run();
        }
        tell(Kind.FEEL_END, "S", world.a, "B", world.b);
    }

    // ------------------------------------------------------------------------------------------ a talk

    private String say(Kind kind, Map<String, Object> event) {
        List<Production> fitting = Production.BY_KIND.get(kind).stream()
                .filter(p -> event.keySet().containsAll(p.keys()))
                .toList();
        return random.pick(fitting).render(event, null, world.siblings, world.pair(), random);
    }

    private String request() {
        Item first = world.items.values().iterator().next().item;
        return say(Kind.REQUEST, Map.of("S", world.a, "B", world.b, "obj", first));
    }

    private Turn question() {
        List<Turn> turns = new ArrayList<>();
        for (Holding h : world.items.values()) {
            if (h.holder != null) {
                turns.add(new Turn(say(Kind.END_WHO, Map.of("obj", h.item)), say(Kind.HAD_IT, Map.of("S", h.holder))));
            } else {
                turns.add(new Turn(
                        say(Kind.END_WHERE, Map.of("obj", h.item)), say(Kind.WAS_AT, Map.of("place", h.place))));
            }
        }
        world.counts.forEach((p, byThing) -> byThing.forEach((t, n) -> {
            Map<String, Object> event = Map.of("S", p, "thing", t, "n", n);
            turns.add(new Turn(say(Kind.END_MANY, event), p.name() + " had " + t.counted(n) + "."));
        }));
        return random.pick(turns);
    }
}
