//go:build unix

package fault_test

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"millrace/verify"
)

// violated are the invariants that a report says are.
func violated(r *verify.Report) (list []string) {
	for _, i := range r.Invariants {
		if i.Violations > 0 {
			list = append(list, i.ID)
		}
	}
	return list
}

func text(t *testing.T, r *verify.Report) string {
	t.Helper()
	var b strings.Builder
	if err := r.WriteText(&b); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// Each mistake turns those invariants red that it breaks, and no other.
func TestEachMistakeIsFound(t *testing.T) {
	for _, m := range mistakes {
		t.Run(m.name, func(t *testing.T) {
			t.Parallel()
			s := newSystem(t, m.name)
			m.play(s)
			report := s.verified()
			if got := violated(report); !slices.Equal(got, m.violated) || report.OK {
				t.Errorf("violated: %v, want %v\n%s", got, m.violated, text(t, report))
			}
			if !strings.Contains(text(t, report), m.said) {
				t.Errorf("nothing says %q:\n%s", m.said, text(t, report))
			}
		})
	}
}

// The same loads without a mistake are survived: it is the mistake that turns them red.
func TestWithoutAMistakeNothingIsFound(t *testing.T) {
	var played []uintptr
	for _, m := range mistakes {
		if p := reflect.ValueOf(m.play).Pointer(); !slices.Contains(played, p) {
			played = append(played, p)
		} else {
			continue
		}
		t.Run(m.name, func(t *testing.T) {
			t.Parallel()
			s := newSystem(t, "")
			m.play(s)
			if report := s.verified(); !report.OK || report.Counts.Records == 0 {
				t.Errorf("%v\n%s", violated(report), text(t, report))
			}
		})
	}
}

// An ordinary build cannot make any of them: the names are not even in it.
func TestAnOrdinaryBuildHasNoMistakes(t *testing.T) {
	path := filepath.Join(t.TempDir(), "router")
	if out, err := exec.CommandContext(t.Context(), "go", "build", "-o", path, "millrace/cmd/router").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	program, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range mistakes {
		if bytes.Contains(program, []byte(m.name)) {
			t.Errorf("%q is in the program", m.name)
		}
	}
	if bytes.Contains(program, []byte("MILLRACE_FAULT")) {
		t.Error("the variable that chooses one is in the program")
	}
	symbols, err := exec.CommandContext(t.Context(), "go", "tool", "nm", path).Output()
	if err != nil {
		t.Fatal(err)
	}
	if bytes.Contains(symbols, []byte("millrace/fault.On")) {
		t.Error("fault.On is in the program")
	}
}
