package dev.espalier.tools;

import static com.tngtech.archunit.base.DescribedPredicate.describe;
import static com.tngtech.archunit.core.domain.JavaClass.Predicates.resideInAnyPackage;
import static com.tngtech.archunit.lang.syntax.ArchRuleDefinition.classes;
import static com.tngtech.archunit.lang.syntax.ArchRuleDefinition.noClasses;
import static com.tngtech.archunit.library.dependencies.SlicesRuleDefinition.slices;
import static org.junit.jupiter.api.Assertions.assertFalse;

import com.tngtech.archunit.core.domain.JavaClasses;
import com.tngtech.archunit.core.importer.ClassFileImporter;
import com.tngtech.archunit.core.importer.ImportOption;
import java.lang.foreign.Linker;
import java.util.Arrays;
import java.util.List;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;

/// The rules of `docs/design/modules.md` that neither Maven nor `module-info` can state.
class ArchitectureTest {
    private static final String[] NATIVES = {"dev.espalier.natives.."};
    private static final String[] KERNELS = {"dev.espalier.tensor..", "dev.espalier.kernels.."};
    private static final String[] RUNTIME = {
        "dev.espalier.checkpoint..", "dev.espalier.tokenizer..", "dev.espalier.model..", "dev.espalier.generate.."
    };
    private static final String[] PRUNE = {"dev.espalier.prune.."};
    private static final String[] TOOLS = {"dev.espalier.tools.."};
    private static final String[] GENERATED = {"..generated.."};

    private static JavaClasses project;

    @BeforeAll
    static void readTheClassesOfAllModules() {
        project = new ClassFileImporter()
                .withImportOption(ImportOption.Predefined.DO_NOT_INCLUDE_TESTS)
                .importPackages("dev.espalier");
        for (String[] module : List.of(NATIVES, KERNELS, RUNTIME, PRUNE, TOOLS)) {
            assertFalse(
                    project.that(resideInAnyPackage(module)).isEmpty(),
                    "no classes were read in " + String.join(", ", module));
        }
    }

    @Test
    void packagesAreFreeOfCycles() {
        slices().matching("dev.espalier.(**)").should().beFreeOfCycles().check(project);
    }

    @Test
    void eachModuleLeansOnlyOnThoseBelowIt() {
        noClasses()
                .that()
                .resideInAnyPackage(NATIVES)
                .should()
                .dependOnClassesThat(resideInAnyPackage(KERNELS))
                .check(project);
        noClasses()
                .that()
                .resideInAnyPackage(join(NATIVES, KERNELS))
                .should()
                .dependOnClassesThat(resideInAnyPackage(RUNTIME))
                .check(project);
        noClasses()
                .that()
                .resideInAnyPackage(join(NATIVES, KERNELS, RUNTIME))
                .should()
                .dependOnClassesThat(resideInAnyPackage(PRUNE))
                .check(project);
        noClasses()
                .that()
                .resideInAnyPackage(join(NATIVES, KERNELS, RUNTIME, PRUNE))
                .should()
                .dependOnClassesThat(resideInAnyPackage(TOOLS))
                .check(project);
    }

    @Test
    void everyClassBelongsToAModule() {
        classes()
                .should()
                .resideInAnyPackage(join(NATIVES, KERNELS, RUNTIME, PRUNE, TOOLS))
                .check(project);
    }

    @Test
    void onlySparseKernelsUsesTheVectorApi() {
        noClasses()
                .that()
                .resideOutsideOfPackages(KERNELS)
                .should()
                .dependOnClassesThat()
                .resideInAPackage("jdk.incubator.vector..")
                .check(project);
    }

    @Test
    void onlyNativeBindingsCallsTheLinker() {
        noClasses()
                .that()
                .resideOutsideOfPackages(NATIVES)
                .should()
                .dependOnClassesThat()
                .areAssignableTo(Linker.class)
                .check(project);
    }

    @Test
    void onlyToolsPrints() {
        noClasses()
                .that()
                .resideOutsideOfPackages(join(TOOLS, GENERATED))
                .should()
                .accessFieldWhere(describe(
                        "System.out or System.err",
                        access -> access.getTargetOwner().isEquivalentTo(System.class)
                                && !access.getTarget().getName().equals("in")))
                .orShould()
                .callMethod(Throwable.class, "printStackTrace")
                .check(project);
    }

    private static String[] join(String[]... packages) {
        return Arrays.stream(packages).flatMap(Arrays::stream).toArray(String[]::new);
    }
}
