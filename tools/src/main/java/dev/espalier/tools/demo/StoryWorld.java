package dev.espalier.tools.demo;

import dev.espalier.tools.demo.Lexicon.Item;
import dev.espalier.tools.demo.Lexicon.Person;
import dev.espalier.tools.demo.Lexicon.Place;
import dev.espalier.tools.demo.Lexicon.Spot;
import dev.espalier.tools.demo.Lexicon.Thing;
import dev.espalier.tools.demo.Production.Kin;
import dev.espalier.tools.demo.Production.Kind;
import dev.espalier.tools.demo.Production.Pronoun;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.HashSet;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;

/// What is true at one moment of a story, and which sentence may follow.
///
/// The generator and the parser run the same world: the one to write only what is consistent, the other to refuse
/// what is not.
final class StoryWorld {
    /// Why a sentence cannot stand here.
    static final class Contradiction extends RuntimeException {
        private static final long serialVersionUID = 1L;

        Contradiction(String message) {
            super(message, null, false, false);
        }
    }

    /// A thing of the story: who holds it, or where it lies.
    static final class Holding {
        final Item item;
        Person holder;
        Place place;
        Spot spot;
        final Set<Person> earlier = new HashSet<>();

        Holding(Item item) {
            this.item = item;
        }
    }

    private enum Stage {
        BEGIN,
        ALONE,
        PAIR,
        DAY,
        HOME
    }

    private Stage stage = Stage.BEGIN;
    Person a;
    Person b;
    Person c;
    boolean siblings;
    String weather;
    private int clock;
    final Map<Person, Place> where = new HashMap<>();
    final Map<String, Holding> items = new LinkedHashMap<>();
    final Map<Person, Map<Thing, Integer>> counts = new LinkedHashMap<>();
    /// Whom "he" or "she" at the start of the next sentence means; null where it would mean nobody.
    Person subject;
    /// Who gave last, and to whom: the receiver may thank.
    private Person giver;
    private Person receiver;
    /// Whose count went down in the last sentence, and of what.
    private Person reducer;
    private Thing reduced;
    /// The question that the next sentence has to answer.
    private Map<String, Object> question;
    private Kind asked;

    List<Person> pair() {
        return b == null ? List.of() : List.of(a, b);
    }

    boolean together() {
        return where.get(a) != null && where.get(a).equals(where.get(b));
    }

    boolean home() {
        return stage == Stage.HOME;
    }

    /// The people that stand in `place`.
    List<Person> peopleAt(Place place) {
        List<Person> present = new ArrayList<>();
        for (Person p : cast()) {
            if (place.equals(where.get(p))) {
                present.add(p);
            }
        }
        return present;
    }

    List<Person> cast() {
        List<Person> all = new ArrayList<>(pair());
        if (c != null) {
            all.add(c);
        }
        return all;
    }

    int count(Person p, Thing t) {
        return counts.getOrDefault(p, Map.of()).getOrDefault(t, 0);
    }

    boolean counted(Person p, Thing t) {
        return counts.getOrDefault(p, Map.of()).containsKey(t);
    }

    int clock() {
        return clock;
    }

    // ------------------------------------------------------------------------------------------ one sentence

    private static void require(boolean condition, String why) {
        if (!condition) {
            throw new Contradiction(why);
        }
    }

    /// Takes the sentence into the world.
    ///
    /// @throws Contradiction if it does not agree with what was said before; the world is then as it was
    void accept(Kind kind, Map<String, Object> e) {
        if (asked != null) {
            answer(kind, e);
        } else {
            require(!answers(kind) || kind == Kind.HAVE_COUNT, "an answer without a question");
        }
        Person previousReducer = reducer;
        Thing previousReduced = reduced;
        Person s = person(e, "S", null);
        Person speaker = switch (kind) {
            case INTRO,
                    RELATIVE,
                    SETTING,
                    SWAP,
                    MOVE_BOTH,
                    NOW_HOLD,
                    BOTH_COUNT,
                    SAY_WHERE,
                    SAY_AT,
                    SAY_ON,
                    SAY_MINE,
                    SAY_MANY,
                    SAY_NUMBER,
                    SAY_WHO_WHERE,
                    SAY_PERSON_AT,
                    EVENING,
                    FEEL_BOTH,
                    FEEL_END,
                    WEATHER,
                    ASK_MANY,
                    ASK_WHO,
                    ASK_WHERE,
                    ONLY_LEFT,
                    TOGETHER,
                    LIES_AT,
                    LIES_ON,
                    WAS_AT,
                    HAD_IT -> null;
            default -> s;
        };
        Runnable change = change(kind, e, s, previousReducer, previousReduced);
        change.run();
        if (kind == Kind.ARRIVE) {
            speaker = c;
        }
        if (kind != Kind.GIVE_COUNT && kind != Kind.EAT) {
            reducer = null;
            reduced = null;
        }
        subject = speaker;
    }

    private static boolean answers(Kind kind) {
        return switch (kind) {
            case HAD_IT, WAS_AT, HAVE_COUNT, SAY_AT, SAY_ON, SAY_MINE, SAY_NUMBER, SAY_PERSON_AT -> true;
            default -> false;
        };
    }

    /// Checks the sentence as an answer to the open question, and closes it.
    private void answer(Kind kind, Map<String, Object> e) {
        Person asker = question.get("S") instanceof Person p ? p : null;
        Person s = e.get("S") instanceof Person p ? p : null;
        Holding h = question.get("obj") instanceof Item i ? items.get(i.noun()) : null;
        switch (asked) {
            case ASK_WHO ->
                require(kind == Kind.HAD_IT && h.holder != null && h.holder.equals(s), "wrong answer to who");
            case ASK_WHERE -> {
                require(kind == Kind.HAD_IT || kind == Kind.WAS_AT, "no answer to where");
                require(
                        kind == Kind.HAD_IT
                                ? s.equals(h.holder)
                                : e.get("place").equals(h.place),
                        "wrong answer to where");
            }
            case ASK_MANY -> {
                require(kind == Kind.HAVE_COUNT, "no answer to how many");
                require(e.get("thing").equals(question.get("thing")), "answer about other things");
                Person p = person(e, "S", asker);
                require(asker.equals(p), "answer about somebody else");
                require(e.get("n").equals(count(p, (Thing) e.get("thing"))), "wrong count");
            }
            case SAY_WHERE -> {
                requireReply(asker, s);
                switch (kind) {
                    case SAY_AT ->
                        require(e.get("place").equals(h.place) && !h.place.equals(where.get(s)), "it is not there");
                    case SAY_ON ->
                        require(where.get(s).equals(h.place) && e.get("spot").equals(h.spot), "it is not there");
                    case SAY_MINE -> require(s.equals(h.holder), "has it not");
                    default -> require(false, "no answer to where");
                }
            }
            case SAY_MANY -> {
                requireReply(asker, s);
                require(
                        kind == Kind.SAY_NUMBER && e.get("thing").equals(question.get("thing")),
                        "no answer to how many");
                require(e.get("n").equals(count(s, (Thing) e.get("thing"))), "wrong count");
            }
            case SAY_WHO_WHERE -> {
                requireReply(asker, s);
                Person missing = (Person) question.get("C");
                require(kind == Kind.SAY_PERSON_AT && !missing.equals(s), "no answer to where");
                require(e.get("C#female") == null || e.get("C#female").equals(missing.female()), "wrong pronoun");
                require(e.get("place").equals(where.get(missing)), "is not there");
            }
            default -> throw new IllegalStateException(asked.name());
        }
        asked = null;
        Map<String, Object> closed = question;
        question = null;
        if (kind == Kind.HAVE_COUNT && e.get("S") instanceof Pronoun) {
            subject = (Person) closed.get("S");
        }
    }

    private void requireReply(Person asker, Person s) {
        require(s != null && !s.equals(asker), "nobody answers himself");
        require(where.get(s) != null && where.get(s).equals(where.get(asker)), "answers from elsewhere");
    }

    /// The person under `key`: named, or the one that the pronoun or kinship means here.
    private Person person(Map<String, Object> e, String key, Person asker) {
        Object value = e.get(key);
        return switch (value) {
            case null -> null;
            case Person p -> p;
            case Pronoun p -> {
                Person meant = asker != null ? asker : subject;
                require(meant != null, "nobody whom the pronoun means");
                require(meant.female() == p.female(), "wrong pronoun");
                yield meant;
            }
            case Kin k -> {
                Person s = person(e, "S", null);
                require(pair().contains(s), "has no kin");
                Person other = s.equals(a) ? b : a;
                require(k.word().equals(Lexicon.relation(siblings, other)), "wrong kinship");
                yield other;
            }
            default -> throw new IllegalStateException(value.toString());
        };
    }

    /// The known thing under `key`.
    private Holding thing(Map<String, Object> e, String key) {
        Item mention = (Item) e.get(key);
        Holding h = items.get(mention.noun());
        require(h != null, "nobody spoke of it before");
        require(mention.adjective() == null || mention.adjective().equals(h.item.adjective()), "another one");
        return h;
    }

    private void present(Person p) {
        require(p != null && where.get(p) != null, "nobody spoke of this person before");
    }

    private void near(Person p, Person q) {
        present(p);
        present(q);
        require(!p.equals(q), "the same person");
        require(where.get(p).equals(where.get(q)), "they are not in the same place");
    }

    private void known(Person p, Person q) {
        require(p == null || (p.equals(a) && q.equals(b)) || (p.equals(b) && q.equals(a)), "not these two");
    }

    private void day() {
        require(stage == Stage.DAY, "not at this time of the story");
    }

    /// Checks everything, changes nothing, and returns the change.
    private Runnable change(Kind kind, Map<String, Object> e, Person s, Person lastReducer, Thing lastReduced) {
        Thing t = (Thing) e.get("thing");
        Integer n = (Integer) e.get("n");
        Integer k = (Integer) e.get("k");
        Place place = (Place) e.get("place");
        Spot spot = (Spot) e.get("spot");
        switch (kind) {
            case INTRO -> {
                require(stage == Stage.BEGIN, "a second beginning");
                Person friend = (Person) e.get("B");
                return () -> {
                    a = s;
                    b = friend;
                    siblings = (Boolean) e.get("siblings");
                    begin(e, place);
                };
            }
            case LIFE -> {
                require(stage == Stage.BEGIN, "a second beginning");
                return () -> {
                    a = s;
                    stage = Stage.ALONE;
                };
            }
            case RELATIVE -> {
                require(stage == Stage.ALONE, "not at this time of the story");
                require(s == null || s.equals(a), "about somebody else");
                require(s != null || e.get("S#female").equals(a.female()), "wrong pronoun");
                Person other = (Person) e.get("B");
                require(!other.equals(a), "the same person");
                return () -> {
                    b = other;
                    siblings = (Boolean) e.get("siblings");
                    stage = Stage.PAIR;
                };
            }
            case SETTING -> {
                require(stage == Stage.PAIR, "not at this time of the story");
                known(s, (Person) e.get("B"));
                return () -> begin(e, place);
            }
            case ARRIVE -> {
                day();
                Person guest = (Person) e.get("C");
                require(c == null && !guest.equals(a) && !guest.equals(b), "is known already");
                require(together(), "they are not together");
                require(place == null || place.equals(where.get(a)), "nobody is there");
                return () -> {
                    c = guest;
                    where.put(c, where.get(a));
                };
            }
            case OWN, FIND -> {
                day();
                present(s);
                Item item = (Item) e.get("obj");
                require(!items.containsKey(item.noun()), "there is such a thing already");
                require(spot == null || spot.indoor() == where.get(s).indoor(), "no such spot here");
                return () -> {
                    Holding h = new Holding(item);
                    h.holder = s;
                    items.put(item.noun(), h);
                };
            }
            case OWN_COUNT, HAVE_COUNT -> {
                present(s);
                if (kind == Kind.HAVE_COUNT && counted(s, t)) {
                    require(n.equals(count(s, t)), "wrong count");
                    return () -> {};
                }
                day();
                require(!counted(s, t), "has some already");
                require(n > 0, "none to begin with");
                return () -> put(s, t, n);
            }
            case MORE -> {
                day();
                present(s);
                require(counted(s, t) && count(s, t) > 0, "more than nothing");
                require(count(s, t) + k <= Lexicon.MOST, "too many");
                return () -> put(s, t, count(s, t) + k);
            }
            case GIVE, ASK_GIVE -> {
                day();
                Person named = person(e, "B", null);
                Person from = kind == Kind.GIVE ? s : named;
                Person to = kind == Kind.GIVE ? named : s;
                near(from, to);
                Holding h = thing(e, "obj");
                require(from.equals(h.holder), "gives what is not there to give");
                return () -> {
                    h.earlier.add(from);
                    h.holder = to;
                    gave(from, to);
                };
            }
            case SWAP -> {
                day();
                Person to = (Person) e.get("B");
                near(s, to);
                Holding h = thing(e, "obj");
                Holding g = thing(e, "obj2");
                require(s.equals(h.holder) && to.equals(g.holder), "gives what is not there to give");
                return () -> {
                    h.earlier.add(s);
                    g.earlier.add(to);
                    h.holder = to;
                    g.holder = s;
                    gave(null, null);
                };
            }
            case PUT -> {
                day();
                present(s);
                Holding h = thing(e, "obj");
                require(s.equals(h.holder), "does not hold it");
                require(spot.indoor() == where.get(s).indoor(), "no such spot here");
                return () -> {
                    h.earlier.add(s);
                    h.holder = null;
                    h.place = where.get(s);
                    h.spot = spot;
                };
            }
            case PICK -> {
                day();
                present(s);
                Holding h = thing(e, "obj");
                require(h.holder == null && h.place.equals(where.get(s)), "it does not lie here");
                return () -> h.holder = s;
            }
            case GO_BACK -> {
                day();
                present(s);
                Holding h = thing(e, "obj");
                require(!place.equals(where.get(s)), "is there already");
                require(h.holder == null && place.equals(h.place) && spot.equals(h.spot), "it does not lie there");
                return () -> {
                    where.put(s, place);
                    h.holder = s;
                };
            }
            case GIVE_COUNT -> {
                day();
                Person to = person(e, "B", null);
                near(s, to);
                require(count(s, t) >= k, "has not so many");
                require(count(to, t) + k <= Lexicon.MOST, "too many");
                return () -> {
                    put(s, t, count(s, t) - k);
                    put(to, t, count(to, t) + k);
                    gave(s, to);
                    reducer = s;
                    reduced = t;
                };
            }
            case EAT -> {
                day();
                present(s);
                require(count(s, t) >= k, "has not so many");
                return () -> {
                    put(s, t, count(s, t) - k);
                    reducer = s;
                    reduced = t;
                };
            }
            case MOVE -> {
                day();
                present(s);
                require(!place.equals(where.get(s)), "is there already");
                return () -> where.put(s, place);
            }
            case MOVE_BOTH -> {
                day();
                known(s, (Person) e.get("B"));
                require(together(), "they are not together");
                require(!place.equals(where.get(a)), "they are there already");
                int time = e.get("when") == null ? clock : Lexicon.WHENS.indexOf(e.get("when")) + 1;
                require(e.get("when") == null || time > clock, "time does not run back");
                return () -> {
                    where.put(a, place);
                    where.put(b, place);
                    clock = time;
                };
            }
            case FOLLOW -> {
                day();
                present(s);
                require(!place.equals(where.get(s)), "is there already");
                Person leader = (Person) e.get("B");
                require(
                        leader == null ? !peopleAt(place).isEmpty() : place.equals(where.get(leader)),
                        "nobody is there");
                return () -> where.put(s, place);
            }
            case THANK -> {
                day();
                require(s.equals(receiver) && person(e, "B", null).equals(giver), "nothing to thank for");
                return () -> gave(null, null);
            }
            case NOW_HOLD, STILL_HOLD, PLEASED -> {
                present(s);
                require(s.equals(thing(e, "obj").holder), "does not hold it");
                return () -> {};
            }
            case KEEP -> {
                require(stage == Stage.HOME, "not at this time of the story");
                require(pair().contains(s), "did not go home with them");
                require(s.equals(thing(e, "obj").holder), "does not hold it");
                return () -> {};
            }
            case MISS -> {
                present(s);
                Holding h = thing(e, "obj");
                require(!s.equals(h.holder) && h.earlier.contains(s), "nothing to miss");
                return () -> {};
            }
            case LIES_AT -> {
                Holding h = thing(e, "obj");
                require(h.holder == null && place.equals(h.place), "it does not lie there");
                return () -> {};
            }
            case LIES_ON -> {
                day();
                Holding h = thing(e, "obj");
                require(h.holder == null && spot.equals(h.spot), "it does not lie there");
                return () -> {};
            }
            case NOW_COUNT, STILL_COUNT -> {
                present(s);
                require(counted(s, t) && n.equals(count(s, t)), "wrong count");
                require(kind == Kind.NOW_COUNT || n > 0, "still nothing");
                return () -> {};
            }
            case LEFT_COUNT -> {
                require(s.equals(lastReducer) && t.equals(lastReduced), "nothing went away");
                require(n.equals(count(s, t)), "wrong count");
                return () -> {};
            }
            case ONLY_LEFT -> {
                require(lastReducer != null && t.equals(lastReduced), "nothing went away");
                require(n > 0 && n.equals(count(lastReducer, t)), "wrong count");
                return () -> {};
            }
            case BOTH_COUNT -> {
                Person other = (Person) e.get("B");
                present(s);
                present(other);
                require(counted(s, t) && counted(other, t), "not counted before");
                require(n.equals(count(s, t)) && e.get("m").equals(count(other, t)), "wrong count");
                return () -> {};
            }
            case TOGETHER -> {
                day();
                require(counted(a, t) && counted(b, t), "not counted before");
                require(n.equals(count(a, t) + count(b, t)), "wrong sum");
                return () -> {};
            }
            case FEEL -> {
                day();
                present(s);
                return () -> {};
            }
            case FEEL_BOTH -> {
                day();
                known(s, (Person) e.get("B"));
                require(together(), "they are not together");
                return () -> {};
            }
            case WEATHER -> {
                day();
                require(Lexicon.weatherPhrases(weather).contains(e.get("phrase")), "other weather");
                return () -> {};
            }
            case ASK_WHO -> {
                require(thing(e, "obj").holder != null, "nobody has it");
                return () -> ask(kind, e);
            }
            case ASK_WHERE -> {
                thing(e, "obj");
                return () -> ask(kind, e);
            }
            case ASK_MANY -> {
                present(s);
                require(counted(s, t), "not counted before");
                return () -> ask(kind, e);
            }
            case SAY_WHERE -> {
                day();
                present(s);
                require(!s.equals(thing(e, "obj").holder), "has it");
                return () -> ask(kind, e);
            }
            case SAY_MANY -> {
                day();
                present(s);
                return () -> ask(kind, e);
            }
            case SAY_WHO_WHERE -> {
                day();
                present(s);
                Person missing = (Person) e.get("C");
                present(missing);
                require(!where.get(missing).equals(where.get(s)), "is here");
                return () -> ask(kind, e);
            }
            case EVENING -> {
                day();
                known(s, (Person) e.get("B"));
                return () -> {
                    stage = Stage.HOME;
                    where.put(a, Lexicon.HOME);
                    where.put(b, Lexicon.HOME);
                };
            }
            case FEEL_END -> {
                require(stage == Stage.HOME, "not at this time of the story");
                known(s, (Person) e.get("B"));
                return () -> {};
            }
            case HAD_IT, WAS_AT, SAY_AT, SAY_ON, SAY_MINE, SAY_NUMBER, SAY_PERSON_AT -> {
                return () -> {};
            }
            case REQUEST, END_WHO, END_WHERE, END_MANY -> throw new Contradiction("said to the teller, not in a story");
        }
        throw new IllegalStateException(kind.name());
    }

    private void begin(Map<String, Object> e, Place place) {
        weather = (String) e.get("weather");
        clock = Lexicon.TIMES.indexOf(e.get("time")) * 2;
        where.put(a, place);
        where.put(b, place);
        stage = Stage.DAY;
    }

    private void put(Person p, Thing t, int n) {
        counts.computeIfAbsent(p, _ -> new LinkedHashMap<>()).put(t, n);
    }

    private void gave(Person from, Person to) {
        giver = from;
        receiver = to;
    }

    private void ask(Kind kind, Map<String, Object> e) {
        asked = kind;
        question = e;
    }

    /// Whether the story may end here.
    boolean complete() {
        return stage == Stage.HOME && asked == null;
    }
}
