//go:build unix

package embedded

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func openData(t *testing.T, path string) *DataDir {
	t.Helper()
	d, err := OpenDataDir(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = d.Close() })
	return d
}

func TestADataDirectoryHasOneOwnerAtATime(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a", "data")
	first := openData(t, path)
	if _, err := OpenDataDir(path); !errors.Is(err, ErrInUse) {
		t.Fatalf("a second process gets %v, want ErrInUse", err)
	}
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	openData(t, path)
}

func TestADataDirectoryIsFoundFromElsewhere(t *testing.T) {
	parent, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Chdir(parent)
	d := openData(t, DefaultDataDir)
	if want := filepath.Join(parent, DefaultDataDir); d.Path() != want {
		t.Errorf("the path is %s, want %s", d.Path(), want)
	}
}

func TestAnotherDirectoryIsRefusedAndLeftAlone(t *testing.T) {
	for _, c := range []struct{ name, file, text, says string }{
		{"foreign", "thesis.tex", "\\section", "holds other things (thesis.tex)"},
		{"newer format", markerName, markerPrefix + "2.\n", "another version"},
		{"same name, other purpose", markerName, "a film", "not Millrace's"},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			write(t, filepath.Join(dir, c.file), c.text)
			before := list(t, dir)
			_, err := OpenDataDir(dir)
			if err == nil || !strings.Contains(err.Error(), c.says) || !strings.Contains(err.Error(), dir) {
				t.Errorf("the error is %v, want one with %q and the path", err, c.says)
			}
			if after := list(t, dir); after != before {
				t.Errorf("the directory was changed:\n%s", after)
			}
		})
	}
}

func TestADirectoryThatCannotBeWrittenIsNamed(t *testing.T) {
	occupied := filepath.Join(t.TempDir(), "file")
	write(t, occupied, "")
	for _, path := range []string{occupied, filepath.Join(occupied, "below")} {
		if _, err := OpenDataDir(path); err == nil || !strings.Contains(err.Error(), "DATA_DIR") {
			t.Errorf("%s: the error is %v, want one that names DATA_DIR", path, err)
		}
	}
}

func TestEndpointsAreReadByOtherCommands(t *testing.T) {
	path := t.TempDir()
	d := openData(t, path)
	if _, err := ReadEndpoints(path); !errors.Is(err, ErrNotRunning) {
		t.Errorf("before they are written: %v, want ErrNotRunning", err)
	}
	want := Endpoints{PID: os.Getpid(), Kafka: "127.0.0.1:19092", Postgres: "postgres:///millrace", HTTP: "http://127.0.0.1:8080"}
	if err := d.WriteEndpoints(want); err != nil {
		t.Fatal(err)
	}
	got, err := ReadEndpoints(path)
	if diff := cmp.Diff(want, got); err != nil || diff != "" {
		t.Errorf("read back: %v\n%s", err, diff)
	}
	if info, err := os.Stat(filepath.Join(path, endpointsName)); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the file has mode %v (%v), want 0600", info.Mode(), err)
	}
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := ReadEndpoints(path); !errors.Is(err, ErrNotRunning) {
		t.Errorf("after Close: %v, want ErrNotRunning", err)
	}
}

func TestTheEndpointsOfAKilledProcessAreNotTrusted(t *testing.T) {
	path := t.TempDir()
	gone := exec.Command("true")
	if err := gone.Run(); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(path, endpointsName), `{"pid": `+strconv.Itoa(gone.Process.Pid)+`}`)
	if _, err := ReadEndpoints(path); !errors.Is(err, ErrNotRunning) {
		t.Errorf("%v, want ErrNotRunning", err)
	}
}

func TestASecondProcessWaitsForTheFirstOnesServers(t *testing.T) {
	path := t.TempDir()
	d := openData(t, path)
	found := make(chan error, 1)
	go func() {
		e, err := AwaitEndpoints(t.Context(), path)
		if err == nil && e.Kafka != "127.0.0.1:19092" {
			err = errors.New("the address is " + e.Kafka)
		}
		found <- err
	}()
	if err := d.WriteEndpoints(Endpoints{Kafka: "127.0.0.1:19092"}); err != nil {
		t.Fatal(err)
	}
	if err := <-found; err != nil {
		t.Error(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := AwaitEndpoints(ctx, t.TempDir()); !errors.Is(err, context.Canceled) || !errors.Is(err, ErrNotRunning) {
		t.Errorf("a wait in vain ends with %v", err)
	}
}
