package dev.espalier.tools;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import com.sun.net.httpserver.HttpServer;
import java.io.IOException;
import java.lang.module.Configuration;
import java.lang.module.ModuleDescriptor;
import java.lang.module.ModuleFinder;
import java.lang.module.ModuleReference;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.attribute.FileTime;
import java.security.MessageDigest;
import java.time.Instant;
import java.util.ArrayList;
import java.util.Collections;
import java.util.HexFormat;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeMap;
import java.util.TreeSet;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.stream.Stream;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

/// `./mvnw`, `./espalier` and the search for a JDK that they share, run by `sh` in a made-up project with made-up JDKs
/// and Mavens: a JDK's `java` and a Maven's `mvn` are scripts that print what they were given.
class BuildScriptsTest {
    private static final String PINNED = "3.9.16";

    @TempDir
    Path folder;

    private Path project;
    private final Map<String, String> environment = new TreeMap<>();
    private HttpServer archive;
    private final AtomicInteger requests = new AtomicInteger();

    record Run(int exit, String out, String err) {}

    @BeforeEach
    void aProjectOnAMachineWhoseDefaultJavaIs17AndMavenOld() throws Exception {
        assumeTrue(Files.isExecutable(Path.of("/bin/sh")), "sh: there is no /bin/sh");
        Path root = Path.of("").toAbsolutePath().getParent();
        project = Files.createDirectories(folder.resolve("a project"));
        Files.createDirectories(project.resolve(".mvn"));
        for (String script : List.of("mvnw", "espalier", ".mvn/find-jdk.sh")) {
            Files.copy(root.resolve(script), project.resolve(script));
        }
        Path java17 = jdk("default", "17.0.15");
        maven(folder.resolve("usr/bin/mvn"), "3.6.3");
        environment.put("PATH", java17.resolve("bin") + ":" + folder.resolve("usr/bin") + ":/usr/bin:/bin");
        environment.put("HOME", Files.createDirectories(folder.resolve("home")).toString());
        environment.put("ESPALIER_JDK_FOLDERS", folder.resolve("jvm").toString());
    }

    @AfterEach
    void stopTheArchive() {
        if (archive != null) {
            archive.stop(0);
        }
    }

    @ParameterizedTest
    @CsvSource({
        "25.0.3, true",
        "25.0.10, true",
        "25.0.4.1, true",
        "25.1.2, true",
        "25.0.2, false",
        "25.0.1, false",
        "25, false",
        "24.0.9, false",
        "26.0.3, false",
        "21.0.11, false",
        "2.5.0, false"
    })
    void aJdk25IsTakenFromItsThirdUpdateOn(String version, boolean taken) throws Exception {
        Path home = jdk("jvm/candidate", version);
        installMaven("3.9.1");

        Run run = run("mvnw", "-v");

        assertEquals(taken ? 0 : 2, run.exit, run.err);
        assertEquals(taken, run.out.contains("JAVA_HOME=" + home), run.out);
    }

    @Test
    void withoutAJdkOneLineNamesWhereItLookedAndWhatItFound() throws Exception {
        jdk("jvm/old", "25.0.1");
        environment.put("JAVA_HOME", folder.resolve("nowhere").toString());

        for (String script : List.of("mvnw", "espalier")) {
            Run run = run(script, "info");
            assertEquals(2, run.exit);
            assertEquals(1, run.err.lines().count(), run.err);
            for (String named :
                    List.of("25.0.3", "JAVA_HOME", "PATH", "jvm", "17.0.15", "25.0.1", "ESPALIER_JAVA_HOME")) {
                assertTrue(run.err.contains(named), named + " is not in: " + run.err);
            }
        }
    }

    @Test
    void theOrderIsEspalierJavaHomeJavaHomePathFolders() throws Exception {
        installMaven("3.9.1");
        Path inFolders = jdk("jvm/b", "25.0.3");
        assertTrue(run("mvnw", "-v").out.contains("JAVA_HOME=" + inFolders));

        Path onPath = jdk("opt/c", "25.0.3");
        Path link = folder.resolve("links/java");
        Files.createDirectories(link.getParent());
        Files.createSymbolicLink(link, Path.of("../opt/c/bin/java"));
        environment.merge("PATH", link.getParent() + ":", (old, first) -> first + old);
        assertTrue(run("mvnw", "-v").out.contains("JAVA_HOME=" + onPath.toRealPath()));

        Path javaHome = jdk("java home", "25.0.3");
        environment.put("JAVA_HOME", javaHome.toString());
        assertTrue(run("mvnw", "-v").out.contains("JAVA_HOME=" + javaHome));

        Path ours = jdk("ours", "25.0.3");
        environment.put("ESPALIER_JAVA_HOME", ours.toString());
        Run run = run("mvnw", "-v");
        assertTrue(run.out.contains("JAVA_HOME=" + ours));
        assertEquals("", run.err);
    }

    @Test
    void anEspalierJavaHomeOfAnotherVersionIsPassedOverAndSaidSo() throws Exception {
        installMaven("3.9.1");
        Path right = jdk("jvm/right", "25.0.3");
        environment.put("ESPALIER_JAVA_HOME", jdk("wrong", "21.0.4").toString());

        Run run = run("mvnw", "-v");

        assertEquals(0, run.exit);
        assertTrue(run.out.contains("JAVA_HOME=" + right));
        assertEquals(1, run.err.lines().count(), run.err);
        assertTrue(run.err.contains("ESPALIER_JAVA_HOME") && run.err.contains(right.toString()), run.err);
    }

    @ParameterizedTest
    @ValueSource(strings = {"3.8.6", "3.8.7", "3.9.0", "3.10.0", "4.0.0"})
    void anInstalledMavenIsUsedFrom386On(String version) throws Exception {
        jdk("jvm/j", "25.0.3");
        installMaven(version);

        Run run = run("mvnw", "-Dname=two words", "verify");

        assertEquals(0, run.exit, run.err);
        assertTrue(run.out.contains("Maven " + version + " [-Dname=two words] [verify]"), run.out);
    }

    @ParameterizedTest
    @ValueSource(strings = {"3.8.5", "3.6.3", "2.2.1"})
    void inPlaceOfAnOlderMavenThePinnedOneIsFetchedOnce(String version) throws Exception {
        jdk("jvm/j", "25.0.3");
        installMaven(version);
        serveMaven(true);

        Run first = run("mvnw", "-Dname=two words", "verify");
        Run second = run("mvnw", "test");

        assertEquals(0, first.exit, first.err);
        assertTrue(first.out.contains("Maven " + PINNED + " [-Dname=two words] [verify]"), first.out);
        assertTrue(second.out.contains("Maven " + PINNED + " [test]"), second.out);
        assertEquals(1, requests.get());
        assertEquals(List.of("espalier-apache-maven-" + PINNED), cached());
    }

    @Test
    void aMavenWithAnotherChecksumIsNotUsedNorKept() throws Exception {
        jdk("jvm/j", "25.0.3");
        serveMaven(false);

        Run run = run("mvnw", "verify");

        assertEquals(1, run.exit);
        assertEquals("", run.out);
        assertTrue(run.err.contains("SHA-512"), run.err);
        assertEquals(List.of(), cached());
    }

    @Test
    void anArchiveWithoutThePinnedMavenIsNamed() throws Exception {
        jdk("jvm/j", "25.0.3");
        serveMaven(true);
        environment.merge("ESPALIER_MAVEN_ARCHIVE", "/elsewhere", String::concat);

        Run run = run("mvnw", "verify");

        assertEquals(1, run.exit);
        assertTrue(run.err.contains(environment.get("ESPALIER_MAVEN_ARCHIVE")), run.err);
        assertEquals(List.of(), cached());
    }

    @Test
    void theLauncherBuildsOnceAndAgainWhenASourceChanged() throws Exception {
        Path home = jdk("jvm/j", "25.0.3");
        Path source = sourcesAndABuildThat("touch tools/target/built");

        Run first = run("espalier", "info", "two words");
        assertEquals(0, first.exit, first.err);
        assertEquals(1, builds());
        assertEquals(1, first.err.lines().count(), first.err);
        assertTrue(first.out.contains("java of " + home), first.out);
        assertTrue(first.out.contains("[dev.espalier.tools.Espalier] [info] [two words]"), first.out);

        Run second = run("espalier", "info");
        assertEquals(1, builds());
        assertEquals("", second.err);

        Files.setLastModifiedTime(source, FileTime.from(Instant.now().plusSeconds(5)));
        assertEquals(0, run("espalier", "info").exit);
        assertEquals(2, builds());
    }

    @Test
    void twoStartsAtOnceBuildOnce() throws Exception {
        jdk("jvm/j", "25.0.3");
        sourcesAndABuildThat("sleep 2; touch tools/target/built");

        Process one = start("espalier", "a");
        Process two = start("espalier", "b");

        assertTrue(finish(one).out.contains("[a]"));
        assertTrue(finish(two).out.contains("[b]"));
        assertEquals(1, builds());
    }

    @Test
    void theLockOfAKilledBuildIsRemoved() throws Exception {
        jdk("jvm/j", "25.0.3");
        sourcesAndABuildThat("touch tools/target/built");
        Process dead = new ProcessBuilder("/bin/sh", "-c", "exit 0").start();
        assertEquals(0, dead.waitFor());
        Files.createDirectories(project.resolve(".building"));
        Files.writeString(project.resolve(".building/pid"), Long.toString(dead.pid()));

        assertEquals(0, run("espalier", "info").exit);
        assertFalse(Files.exists(project.resolve(".building")));
    }

    @Test
    void aFailedBuildIsShownAndEndsWithOne() throws Exception {
        jdk("jvm/j", "25.0.3");
        sourcesAndABuildThat("echo what went wrong; exit 1");

        Run run = run("espalier", "info");

        assertEquals(1, run.exit);
        assertEquals("", run.out);
        assertTrue(run.err.contains("what went wrong"), run.err);
        assertFalse(Files.exists(project.resolve(".building")));
    }

    @Test
    void theJvmTakesTheLaunchersPlaceSoThatSignalsReachIt() throws Exception {
        jdk("jvm/j", "25.0.3");
        sourcesAndABuildThat("touch tools/target/built");
        environment.put("ESPALIER_JAVA_OPTS", "-Xmx7g -Dx=y");

        Process process = start("espalier", "info");
        Run run = finish(process);

        assertTrue(run.out.contains("pid " + process.pid() + " "), run.out);
        assertTrue(run.out.contains("[-Xmx7g] [-Dx=y] [dev.espalier.tools.Espalier]"), run.out);
        assertTrue(run.out.contains("[--enable-native-access=ALL-UNNAMED]"), run.out);
        assertTrue(run.out.contains("[-XX:PerMethodTrapLimit=100000]"), run.out);
    }

    /// The fake JDK writes what a real one would write there; without that, the program starts all the same.
    @Test
    void theClassesAreCachedOnceABuild() throws Exception {
        Path java = jdk("jvm/j", "25.0.3").resolve("bin/java");
        sourcesAndABuildThat("touch tools/target/built");
        Path cache = project.resolve("tools/target/espalier.aot");

        assertFalse(run("espalier", "info").out.contains("AOTCache="));
        assertEquals(0, Files.size(cache));

        script(java, Files.readString(java) + """
                for word; do
                    case $word in
                        -XX:AOTCacheOutput=*) echo x >"${word#*=}"; echo >>"$(dirname "$0")/trainings" ;;
                    esac
                done
                """);
        Files.delete(cache);
        for (int start = 0; start < 2; start++) {
            Run run = run("espalier", "info");
            assertTrue(run.out.contains("[-XX:AOTCache=" + cache + "]"), run.out);
            assertFalse(run.out.contains("AOTCacheOutput"), run.out);
        }
        try (Stream<String> trainings = Files.lines(java.resolveSibling("trainings"))) {
            assertEquals(1, trainings.count());
        }
        Files.setLastModifiedTime(
                project.resolve("tools/target/built"),
                FileTime.from(Instant.now().plusSeconds(5)));
        run("espalier", "info");
        try (Stream<String> trainings = Files.lines(java.resolveSibling("trainings"))) {
            assertEquals(2, trainings.count());
        }
    }

    /// Compiled early is what the program keeps from C1, if it reads memory by address: code for segments that were not met
    /// yet holds calls where it should hold loads.
    @Test
    void theCompilersCommandsNameTheKernelsThatTakeAddresses() throws Exception {
        Path sources = Path.of("").toAbsolutePath().getParent().resolve("sparse-kernels/src/main");
        List<String> expected = new ArrayList<>(List.of("quiet"));
        try (Stream<Path> files = Files.walk(sources.resolve("java"))) {
            for (Path file :
                    files.filter(path -> path.toString().endsWith(".java")).toList()) {
                String source = Files.readString(file);
                if (Pattern.compile("fromMemorySegment\\(\\w+, (?!(Raw\\.)?ALL\\b)")
                        .matcher(source)
                        .find()) {
                    continue;
                }
                Matcher call = Pattern.compile("CompilerHints\\.excludeFromC1\\((\\w+)\\.class\\)")
                        .matcher(source);
                while (call.find()) {
                    String outer =
                            sources.resolve("java").relativize(file).toString().replace('/', '.');
                    outer = outer.substring(0, outer.length() - ".java".length());
                    String nested = outer.endsWith("." + call.group(1)) ? "" : "$" + call.group(1);
                    // A helper that takes vectors must never be a call: they would be objects.
                    boolean helper = !source.contains("fromMemorySegment");
                    expected.add((helper ? "inline," : "CompileThresholdScaling,")
                            + outer
                            + nested
                            + (helper ? "::*" : "::*,0.1"));
                }
            }
        }
        // Twice inside of the softmax it is too large a graph.
        expected.add("dontinline,dev.espalier.kernels.cpu.Elementwise::exponentials");
        Collections.sort(expected);
        List<String> lines = new ArrayList<>(Files.readAllLines(sources.resolve("hotspot/commands")));
        Collections.sort(lines);
        assertEquals(expected, lines);
    }

    /// The archive for machines without Java has the modules that ours and the libraries' need, or it does not start.
    @Test
    void theArchiveForGpusHasEveryModuleOfTheJdkThatIsNeeded() throws Exception {
        Path script = Path.of("").toAbsolutePath().getParent().resolve("tools/scripts/gpu_archive.sh");
        Matcher list = Pattern.compile("--add-modules (java\\.base,\\S+)").matcher(Files.readString(script));
        assertTrue(list.find());
        Set<String> there = new TreeSet<>();
        Configuration.empty()
                .resolve(
                        ModuleFinder.ofSystem(),
                        ModuleFinder.of(),
                        List.of(list.group(1).split(",")))
                .modules()
                .forEach(module -> there.add(module.name()));
        Path[] classPath = Stream.of(System.getProperty("java.class.path").split(":"))
                .map(Path::of)
                .filter(entry -> Files.exists(entry) && !entry.toString().endsWith("-tests.jar"))
                .toArray(Path[]::new);
        int ours = 0;
        for (Path entry : classPath) {
            for (ModuleReference module : ModuleFinder.of(entry).findAll()) {
                ours += module.descriptor().name().startsWith("dev.espalier.") ? 1 : 0;
                for (ModuleDescriptor.Requires needed : module.descriptor().requires()) {
                    boolean jdk =
                            needed.name().startsWith("java.") || needed.name().startsWith("jdk.");
                    boolean always = !needed.modifiers().contains(ModuleDescriptor.Requires.Modifier.STATIC);
                    boolean tests =
                            module.descriptor().name().matches("(org\\.junit|org\\.opentest4j|org\\.apiguardian).*");
                    if (jdk && always && !tests) {
                        assertTrue(
                                there.contains(needed.name()),
                                module.descriptor().name() + " needs " + needed);
                    }
                }
            }
        }
        assertEquals(5, ours);
    }

    @Test
    void theTableOfSkippedGroupsCountsByGroupAndReason() throws Exception {
        Path reports = Files.createDirectories(project.resolve("module/target/surefire-reports"));
        Files.writeString(reports.resolve("TEST-a.xml"), """
                <testsuite>
                  <testcase name="a"><skipped type="org.opentest4j.TestAbortedException"><![CDATA[\
                org.opentest4j.TestAbortedException: Assumption failed: GPU: no driver
                    at somewhere]]></skipped></testcase>
                  <testcase name="b"><skipped message="GPU: no driver"/></testcase>
                  <testcase name="c"><skipped message="void C.c() is @Disabled"/></testcase>
                  <testcase name="d"/>
                </testsuite>
                """);
        Path old = reports.resolve("TEST-old.xml");
        Files.writeString(
                old, "<testsuite><testcase name='a'><skipped message='shared: none'/></testcase></testsuite>");
        Files.setLastModifiedTime(old, FileTime.from(Instant.now().minusSeconds(3600)));
        Path program = Path.of("").toAbsolutePath().getParent().resolve(".mvn/SkippedGroups.java");

        Run run = finish(new ProcessBuilder(
                        Path.of(System.getProperty("java.home"), "bin/java").toString(),
                        program.toString(),
                        project.toString(),
                        Instant.now().minusSeconds(60).toString())
                .start());

        assertEquals(0, run.exit, run.err);
        assertTrue(run.out.contains("of 4 tests"), run.out);
        assertTrue(run.out.contains("GPU        2  no driver"), run.out);
        assertTrue(run.out.contains("other      1  void C.c() is @Disabled"), run.out);
        assertFalse(run.out.contains("shared"), run.out);
    }

    /// A JDK whose `java` prints its arguments.
    private Path jdk(String name, String version) throws IOException {
        Path home = Files.createDirectories(folder.resolve(name));
        Files.writeString(home.resolve("release"), "IMPLEMENTOR=\"x\"\nJAVA_VERSION=\"" + version + "\"\n");
        for (String program : List.of("bin/java", "bin/javac")) {
            script(home.resolve(program), """
                    printf 'pid %s java of %s:' $$ "$JAVA_HOME"
                    printf ' [%s]' "$@"
                    echo
                    """);
        }
        return home;
    }

    private void installMaven(String version) throws IOException {
        maven(folder.resolve("usr/bin/mvn"), version);
    }

    private static void maven(Path file, String version) throws IOException {
        script(file, """
                if [ "$1" = --version ]; then echo "Apache Maven VERSION (build)"; exit; fi
                printf 'Maven VERSION'
                printf ' [%s]' "$@"
                echo " JAVA_HOME=$JAVA_HOME"
                """.replace("VERSION", version));
    }

    private static void script(Path file, String text) throws IOException {
        Files.createDirectories(file.getParent());
        Files.writeString(file, "#!/bin/sh\n" + text);
        assertTrue(file.toFile().setExecutable(true));
    }

    /// An archive on the loopback with a Maven whose checksum the project's mvnw expects, or with another one.
    private void serveMaven(boolean expected) throws Exception {
        assumeTrue(
                Stream.of("/usr/bin/curl", "/bin/curl", "/usr/bin/wget", "/bin/wget")
                        .anyMatch(tool -> Files.isExecutable(Path.of(tool))),
                "curl: there is neither curl nor wget");
        Path made = folder.resolve("made");
        maven(made.resolve("apache-maven-" + PINNED + "/bin/mvn"), PINNED);
        Path tar = folder.resolve("maven.tar.gz");
        Run packed = finish(
                new ProcessBuilder("tar", "-czf", tar.toString(), "-C", made.toString(), "apache-maven-" + PINNED)
                        .start());
        assertEquals(0, packed.exit, packed.err);
        byte[] bytes = Files.readAllBytes(tar);
        String sum =
                HexFormat.of().formatHex(MessageDigest.getInstance("SHA-512").digest(bytes));
        if (expected) {
            String script = Files.readString(project.resolve("mvnw"));
            String pinned = script.replaceFirst("(?m)^maven_sha512=[0-9a-f]{128}$", "maven_sha512=" + sum);
            assertFalse(script.equals(pinned), "mvnw pins no SHA-512");
            Files.writeString(project.resolve("mvnw"), pinned);
        }
        archive = HttpServer.create(new InetSocketAddress(InetAddress.getLoopbackAddress(), 0), 0);
        archive.createContext("/maven-3/" + PINNED + "/binaries/apache-maven-" + PINNED + "-bin.tar.gz", exchange -> {
            requests.incrementAndGet();
            exchange.sendResponseHeaders(200, bytes.length);
            exchange.getResponseBody().write(bytes);
            exchange.close();
        });
        archive.start();
        environment.put(
                "ESPALIER_MAVEN_ARCHIVE",
                "http://127.0.0.1:" + archive.getAddress().getPort());
    }

    private List<String> cached() throws IOException {
        Path cache = folder.resolve("home/.m2/wrapper/dists");
        try (Stream<Path> entries = Files.list(cache)) {
            return entries.map(entry -> entry.getFileName().toString()).toList();
        }
    }

    /// Gives the project empty modules and a mvnw that counts its runs and does `what`; returns one of the sources.
    private Path sourcesAndABuildThat(String what) throws IOException {
        Path source = null;
        Files.writeString(project.resolve("pom.xml"), "");
        for (String module : List.of("native-bindings", "sparse-kernels", "runtime", "prune", "tools")) {
            source = Files.createDirectories(project.resolve(module + "/src/main/java"))
                    .resolve("A.java");
            Files.writeString(source, "");
            Files.writeString(project.resolve(module + "/pom.xml"), "");
        }
        Files.createDirectories(project.resolve("tools/target"));
        script(project.resolve("mvnw"), "cd \"$(dirname \"$0\")\"\necho >>builds\n" + what + "\n");
        return source;
    }

    private long builds() throws IOException {
        try (Stream<String> lines = Files.lines(project.resolve("builds"))) {
            return lines.count();
        }
    }

    private Run run(String script, String... arguments) throws Exception {
        return finish(start(script, arguments));
    }

    private Process start(String script, String... arguments) throws IOException {
        List<String> command = new ArrayList<>(List.of(project.resolve(script).toString()));
        command.addAll(List.of(arguments));
        ProcessBuilder builder = new ProcessBuilder(command).directory(folder.toFile());
        builder.environment().clear();
        builder.environment().putAll(environment);
        return builder.start();
    }

    private static Run finish(Process process) throws Exception {
        process.getOutputStream().close();
        String out = new String(process.getInputStream().readAllBytes(), StandardCharsets.UTF_8);
        String err = new String(process.getErrorStream().readAllBytes(), StandardCharsets.UTF_8);
        assertTrue(process.waitFor(60, TimeUnit.SECONDS), "still running");
        return new Run(process.exitValue(), out, err);
    }
}
