package ui

import (
	"errors"
	"fmt"
	"time"

	"millrace/deadletter"
	"millrace/deadletter/filter"
)

// The messages of a Model, beside what its commands return.
type (
	// Resized says how large the terminal is, in characters.
	Resized struct{ Width, Height int }
	// Key is one that was pressed: a letter, or a name such as "up", "enter", "ctrl+c".
	Key string
	// Pasted is text that came at once.
	Pasted string
	// Tick says what time it is. It comes about once a second.
	Tick time.Time
	// Terminated says that the program is asked to end.
	Terminated struct{}
	// overdue says that the end has been waited for long enough.
	overdue struct{}
)

// place is what fills the screen.
type place int

const (
	atGroups place = iota
	atLetters
	atLetter
	atRedrive
)

// noteFor is how long it is shown what came of a key.
const noteFor = 20 * time.Second

// Model is the screen: what is shown, what is chosen, what is being typed. It is not safe for concurrent use.
type Model struct {
	sources []Source
	fields  filter.Closed
	now     time.Time
	width   int
	height  int

	at      place
	filter  string // as typed, and known to be right
	closed  bool   // letters that wait for nobody are shown, too
	groups  groupList
	letters letterList
	letter  letterView
	redrive *redrive
	input   *input // what is being typed; nil: nothing is
	help    *helpView

	decision request // a drop, a restore
	trouble  string  // what is wrong with the database
	note     string  // what came of a key
	notedAt  time.Time
	leaving  bool // as soon as the redrive has stopped
	done     bool
}

// New returns a screen for the letters of sources, of those that meet a filter. fields are those that have few values: a
// filter that asks for another one is refused.
func New(sources []Source, fields filter.Closed, text string, now time.Time) (*Model, error) {
	if _, err := fields.Parse(text, now); err != nil {
		return nil, err
	}
	return &Model{sources: sources, fields: fields, now: now, filter: text}, nil
}

// Init returns what is to be done first.
func (m *Model) Init() []Command { return []Command{m.loadGroups()} }

// Done tells that the screen is to be left.
func (m *Model) Done() bool { return m.done }

// Update takes a message in, and returns what is to be done next.
func (m *Model) Update(msg any) []Command {
	switch msg := msg.(type) {
	case Resized:
		m.width, m.height = msg.Width, msg.Height
	case Tick:
		return m.tick(time.Time(msg))
	case Key:
		return m.key(string(msg))
	case Pasted:
		if m.input != nil {
			m.input.insert(string(msg))
		}
	case answer:
		return m.answered(msg)
	case progress:
		return m.progressed(msg)
	case driven:
		m.drivenTo(msg)
	case Terminated:
		return m.leave()
	case overdue:
		m.done = true
	}
	return nil
}

// tick asks again for what is on the screen, when it is old.
func (m *Model) tick(now time.Time) []Command {
	m.now = now
	if m.note != "" && now.Sub(m.notedAt) > noteFor {
		m.note = ""
	}
	switch {
	case m.at == atGroups && m.groups.ask.due(now):
		return []Command{m.loadGroups()}
	case m.at == atLetters && m.letters.ask.due(now):
		return []Command{m.loadLetters()}
	case m.at == atLetter && m.letter.ask.due(now):
		return []Command{m.loadLetter()}
	}
	return nil
}

func (m *Model) key(k string) []Command {
	switch {
	case k == "ctrl+c":
		return m.leave()
	case m.input != nil:
		return m.typed(k)
	case k == "q":
		return m.leave()
	case m.help != nil:
		m.help.key(k, m)
		return nil
	case k == "?":
		m.help = &helpView{}
		return nil
	}
	switch m.at {
	case atGroups:
		return m.groupsKey(k)
	case atLetters:
		return m.lettersKey(k)
	case atLetter:
		return m.letterKey(k)
	default:
		return m.redriveKey(k)
	}
}

// typed is a key while a line is being typed.
func (m *Model) typed(k string) []Command {
	in := m.input
	switch k {
	case "esc":
		m.input = nil
	case "enter":
		in.problem, in.wrongAt = "", -1
		commands := in.enter(string(in.text))
		if in.problem == "" && m.input == in {
			m.input = nil
		}
		return commands
	default:
		in.edit(k)
	}
	return nil
}

// answered takes what the database said.
func (m *Model) answered(a answer) []Command {
	if !a.to.take(a, m.now) {
		return nil
	}
	switch {
	case errors.Is(a.err, deadletter.ErrNoLetter) && m.at == atLetter:
		m.at = atLetters
		m.say("Letter %s is gone: it was only waiting to be tried again, and has been processed.", short(m.letter.id))
		return []Command{m.loadLetters()}
	case a.err != nil:
		m.trouble = clean(a.err.Error())
		return nil
	}
	m.trouble = ""
	switch v := a.value.(type) {
	case overview:
		m.groups.set(v)
		if v.err != nil {
			m.trouble = clean(v.err.Error())
		}
	case page:
		m.letters.merge(v)
	case detail:
		return m.letter.set(v, m)
	case verdict:
		m.letter.verdict, m.letter.width = v, 0
	case decided:
		return m.decided(v)
	case frozen:
		m.frozen(v)
	}
	return nil
}

// Tell shows a sentence for a while.
func (m *Model) Tell(text string) { m.say("%s", text) }

func (m *Model) say(format string, args ...any) {
	m.note, m.notedAt = clean(fmt.Sprintf(format, args...)), m.now
}

// asked is how long the question that the screen waits for has been on its way.
func (m *Model) asked() time.Duration {
	var oldest time.Time
	for _, r := range []*request{&m.groups.ask, &m.letters.ask, &m.letter.ask, &m.letter.judge, &m.decision} {
		if !r.idle() && (oldest.IsZero() || r.since.Before(oldest)) {
			oldest = r.since
		}
	}
	if oldest.IsZero() {
		return 0
	}
	return max(m.now.Sub(oldest), 1)
}

// refreshed is when what is on the screen was read.
func (m *Model) refreshed() time.Time {
	switch m.at {
	case atLetters:
		return m.letters.ask.good
	case atLetter:
		return m.letter.ask.good
	case atGroups:
		return m.groups.ask.good
	default:
		return time.Time{}
	}
}
