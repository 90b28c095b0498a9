package ui

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/charmbracelet/x/ansi"
	"golang.org/x/sys/unix"
	"golang.org/x/term"

	"millrace/deadletter"
	"millrace/deadletter/deadlettertest"
)

// pseudoTerminal is both ends of a terminal of 80×24: what a person has, and what a program has.
func pseudoTerminal(t *testing.T) (person, program *os.File) {
	t.Helper()
	person, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Skipf("there are no pseudo-terminals here: %v", err)
	}
	t.Cleanup(func() { person.Close() })
	fd := int(person.Fd())
	if err := unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	n, err := unix.IoctlGetInt(fd, unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.IoctlSetWinsize(fd, unix.TIOCSWINSZ, &unix.Winsize{Row: 24, Col: 80}); err != nil {
		t.Fatal(err)
	}
	if program, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|unix.O_NOCTTY, 0); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { program.Close() })
	return person, program
}

// transcript is what came out of a terminal.
type transcript struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (s *transcript) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.Write(p)
}

func (s *transcript) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.String()
}

// await waits for what is on the screen; the person has it drawn anew for that, because otherwise only what differs
// is written.
func (s *transcript) await(t *testing.T, person io.Writer, text string) {
	t.Helper()
	defer s.showIfFailed(t)
	deadlettertest.Eventually(t, fmt.Sprintf("%q is on the screen", text), func() bool {
		if strings.Contains(ansi.Strip(s.String()), text) {
			return true
		}
		if _, err := person.Write([]byte("\x0c")); err != nil {
			t.Fatal(err)
		}
		return false
	})
}

func (s *transcript) showIfFailed(t *testing.T) {
	if t.Failed() {
		t.Logf("what is written:\n%q", s.String())
	}
}

// In a real terminal: keys arrive, and however it is left, in the middle of a redrive or not, the terminal is as it was.
func TestTheTerminalIsLeftAsItWas(t *testing.T) {
	for _, c := range []struct {
		name string
		keys []string // and what is to be waited for, by turns
		end  bool     // by the system, not by a key
		err  error
	}{
		{"q", []string{"", "shipments", "\r", "LETTER", "q", ""}, false, nil},
		{"ctrl+c while typing", []string{"", "shipments", "/since", "> since", "\x03", ""}, false, nil},
		{"q in a redrive", []string{"", "shipments", "r", "Why?", "mended\r", "begins", "\r", "s stops", "q", ""}, false, nil},
		{"a signal", []string{"", "shipments"}, true, context.Canceled},
	} {
		t.Run(c.name, func(t *testing.T) {
			person, program := pseudoTerminal(t)
			before, err := term.GetState(int(program.Fd()))
			if err != nil {
				t.Fatal(err)
			}
			var out transcript
			go io.Copy(&out, person) // until person is closed
			d := &desk{letters: someLetters(30)}
			d.drive = func(ctx context.Context, r deadletter.Redrive, _ deadletter.Pace, progress func(deadletter.Tally)) (deadletter.Tally, error) {
				progress(r.Tally)
				<-ctx.Done()
				return r.Tally, ctx.Err()
			}
			m, err := New([]Source{d}, nil, "", today)
			if err != nil {
				t.Fatal(err)
			}
			ctx, signal := context.WithCancel(t.Context())
			ended := make(chan error, 1)
			var running sync.WaitGroup
			running.Go(func() { ended <- Run(ctx, m, program, program) })
			t.Cleanup(func() { // before the terminal is closed
				signal()
				running.Wait()
			})
			for i := 0; i < len(c.keys); i += 2 {
				if _, err := person.WriteString(c.keys[i]); err != nil {
					t.Fatal(err)
				}
				out.await(t, person, c.keys[i+1])
			}
			if c.end {
				signal()
			}
			select {
			case err := <-ended:
				if err != c.err {
					t.Errorf("it ended with %v, want %v", err, c.err)
				}
			case <-time.After(patience):
				t.Fatal("it does not end")
			}
			after, err := term.GetState(int(program.Fd()))
			if err != nil {
				t.Fatal(err)
			}
			if *after != *before {
				t.Errorf("the terminal's settings are %+v, were %+v", after, before)
			}
			out.awaitRaw(t, ansi.ResetModeAltScreenSaveCursor)
			out.awaitRaw(t, ansi.SetModeTextCursorEnable)
		})
	}
}

func (s *transcript) awaitRaw(t *testing.T, text string) {
	t.Helper()
	defer s.showIfFailed(t)
	deadlettertest.Eventually(t, fmt.Sprintf("%q is written", text), func() bool { return strings.Contains(s.String(), text) })
}
