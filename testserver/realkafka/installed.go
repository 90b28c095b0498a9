//go:build unix

package realkafka

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
)

// ErrMissing says that this machine has no Java or no Kafka jars.
var ErrMissing = errors.New("no Apache Kafka on this machine")

const (
	// jarsVariable names the directory with the jars, where it is not to be searched.
	jarsVariable = "KAFKA_HOME_JARS"
	// jarsDir is where pom.xml puts them, below the repository's root.
	jarsDir = "build/kafka"
)

// FindJars finds the directory with Kafka's jars: KAFKA_HOME_JARS, else
// build/kafka in the working directory or the nearest one above it that has
// it. ErrMissing if there is none.
func FindJars() (string, error) {
	if dir := os.Getenv(jarsVariable); dir != "" {
		if !hasJars(dir) {
			return "", fmt.Errorf("%w: %s=%s holds no kafka_*.jar", ErrMissing, jarsVariable, dir)
		}
		return filepath.Abs(dir)
	}
	dir, err := os.Getwd()
	if err != nil {
		return "", fmt.Errorf("find Kafka's jars: %w", err)
	}
	for {
		if jars := filepath.Join(dir, jarsDir); hasJars(jars) {
			return jars, nil
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			return "", fmt.Errorf("%w: bring its jars with mvn -q -B dependency:copy-dependencies", ErrMissing)
		}
		dir = parent
	}
}

func hasJars(dir string) bool {
	jars, _ := filepath.Glob(filepath.Join(dir, "kafka_*.jar")) // the only error is a malformed pattern
	return len(jars) > 0
}

// findJava finds a java that runs: macOS has one that only says it is none.
func findJava(ctx context.Context) (string, error) {
	java := "java"
	if home := os.Getenv("JAVA_HOME"); home != "" {
		java = filepath.Join(home, "bin", "java")
	}
	path, err := exec.LookPath(java)
	if err != nil {
		return "", fmt.Errorf("%w: it needs Java 17 or newer, on PATH or in JAVA_HOME: %w", ErrMissing, err)
	}
	if err := exec.CommandContext(ctx, path, "-version").Run(); err != nil {
		return "", fmt.Errorf("%w: it needs Java 17 or newer, and %s does not run: %w", ErrMissing, path, err)
	}
	return path, nil
}
