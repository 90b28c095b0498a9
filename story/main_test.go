//go:build unix

package story_test

import (
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"

	"millrace/testserver"
)

// storiesAtOnce is more than there are cores: a story mostly waits.
const storiesAtOnce = "8"

// scratch is for the router binary.
var scratch string

func TestMain(m *testing.M) {
	// A default, read before the command line, so that -parallel still says otherwise.
	if err := flag.Set("test.parallel", storiesAtOnce); err != nil {
		fmt.Fprintln(os.Stderr, "tell stories in parallel:", err)
		os.Exit(1)
	}
	var err error
	if scratch, err = os.MkdirTemp("", "millrace-story-"); err != nil {
		fmt.Fprintln(os.Stderr, "make a directory for the router binary:", err)
		os.Exit(1)
	}
	code := testserver.Stopping(m).Run()
	_ = os.RemoveAll(scratch) // what is left is temporary anyway
	os.Exit(code)
}

// routerBinary builds the router, once, with the race detector in it.
var routerBinary = sync.OnceValues(func() (string, error) {
	path := filepath.Join(scratch, "router")
	if output, err := exec.Command("go", "build", "-race", "-o", path, "millrace/cmd/router").CombinedOutput(); err != nil {
		return "", fmt.Errorf("build the router: %w\n%s", err, output)
	}
	return path, nil
})
