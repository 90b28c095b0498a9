package ui

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/charmbracelet/x/ansi"

	"millrace/deadletter/filter"
)

var update = flag.Bool("update", false, "write the golden files")

// today is when the tests take place.
var today = time.Date(2026, time.March, 2, 8, 30, 0, 0, time.UTC)

// patience is how long a test waits for what should come at once.
const patience = 30 * time.Second

// lookEvery is how often a test looks for what comes from elsewhere.
const lookEvery = 10 * time.Millisecond

// screen is a model in a test, and what it has going on.
type screen struct {
	t       *testing.T
	m       *Model
	pending int
	results chan any
}

// open opens a screen of 80×24, and waits for what it shows first.
func open(t *testing.T, sources ...Source) *screen {
	t.Helper()
	m, err := New(sources, filter.Closed{"service": {"payment", "shipping"}}, "", today)
	if err != nil {
		t.Fatal(err)
	}
	s := &screen{t: t, m: m, results: make(chan any)}
	s.send(Resized{80, 24})
	s.run(m.Init())
	s.settle()
	return s
}

func (s *screen) run(commands []Command) {
	for _, c := range commands {
		s.pending++
		go func() {
			select {
			case s.results <- c(s.t.Context()):
			case <-s.t.Context().Done():
			}
		}()
	}
}

func (s *screen) send(msg any) { s.run(s.m.Update(msg)) }

// until takes in what comes, until something is so. is may take in something itself.
func (s *screen) until(what string, is func() bool) {
	s.t.Helper()
	late := time.After(patience)
	for !is() {
		select {
		case msg := <-s.results:
			s.pending--
			if msg != nil {
				s.send(msg)
			}
		case <-time.After(lookEvery):
		case <-late:
			s.t.Fatalf("not within %s: %s; the screen is\n%s", patience, what, s.text())
		}
	}
}

// settle takes in all that comes.
func (s *screen) settle() {
	s.t.Helper()
	s.until("every command has ended", func() bool { return s.pending == 0 })
}

// press presses keys, and waits for what comes of each.
func (s *screen) press(keys ...string) {
	s.t.Helper()
	for _, k := range keys {
		s.send(Key(k))
		s.settle()
	}
}

// write types text.
func (s *screen) write(text string) {
	for _, r := range text {
		if r == ' ' {
			s.press("space")
		} else {
			s.press(string(r))
		}
	}
}

// wait lets time pass, and takes in what comes of it.
func (s *screen) wait(d time.Duration) {
	s.t.Helper()
	s.send(Tick(s.m.now.Add(d)))
	s.settle()
}

// text is the screen as somebody sees it.
func (s *screen) text() string { return ansi.Strip(s.m.View()) }

func (s *screen) shows(parts ...string) {
	s.t.Helper()
	for _, p := range parts {
		if !strings.Contains(s.text(), p) {
			s.t.Errorf("%q is not on the screen:\n%s", p, s.text())
		}
	}
}

func (s *screen) hides(parts ...string) {
	s.t.Helper()
	for _, p := range parts {
		if strings.Contains(s.text(), p) {
			s.t.Errorf("%q is on the screen:\n%s", p, s.text())
		}
	}
}

// golden compares the screen with a file of testdata.
func (s *screen) golden(name string) {
	s.t.Helper()
	var b strings.Builder
	for line := range strings.Lines(s.text()) {
		b.WriteString(strings.TrimRight(line, " \n") + "\n")
	}
	file := filepath.Join("testdata", name+".txt")
	if *update {
		if err := os.WriteFile(file, []byte(b.String()), 0o644); err != nil {
			s.t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		s.t.Fatal(err)
	}
	if got := b.String(); got != string(want) {
		s.t.Errorf("the screen is not %s (go test ./deadletter/ui -update writes it):\n%s", file, got)
	}
}
