package ui

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	tea "charm.land/bubbletea/v2"
)

// tickEvery is how often a Model is told what time it is.
const tickEvery = time.Second

// shown is a Model in a terminal.
type shown struct {
	model *Model
	ctx   context.Context // of what its commands do
}

// Run shows m until somebody quits or ctx ends, and leaves the terminal as it was. in and out must be one.
func Run(ctx context.Context, m *Model, in, out *os.File) error {
	commands, cancel := context.WithCancel(ctx)
	defer cancel()
	program := tea.NewProgram(&shown{m, commands}, tea.WithInput(in), tea.WithOutput(out), tea.WithoutSignalHandler())
	defer context.AfterFunc(ctx, func() { program.Send(Terminated{}) })()
	if _, err := program.Run(); err != nil && !errors.Is(err, tea.ErrInterrupted) {
		return fmt.Errorf("the terminal view: %w", err)
	}
	return ctx.Err()
}

// Init implements tea.Model.
func (s *shown) Init() tea.Cmd { return tea.Batch(s.commands(s.model.Init()), nextTick()) }

// Update implements tea.Model.
func (s *shown) Update(msg tea.Msg) (tea.Model, tea.Cmd) {
	var also tea.Cmd
	var todo []Command
	switch msg := msg.(type) {
	case tea.WindowSizeMsg:
		todo = s.model.Update(Resized{msg.Width, msg.Height})
	case tea.PasteMsg:
		todo = s.model.Update(Pasted(msg.Content))
	case tea.KeyPressMsg:
		switch k := msg.String(); k {
		case "ctrl+z":
			return s, tea.Suspend
		case "ctrl+l":
			return s, tea.ClearScreen
		default:
			todo = s.model.Update(Key(k))
		}
	case Tick:
		todo, also = s.model.Update(msg), nextTick()
	default:
		todo = s.model.Update(msg)
	}
	if s.model.Done() {
		return s, tea.Quit
	}
	return s, tea.Batch(s.commands(todo), also)
}

// View implements tea.Model.
func (s *shown) View() tea.View {
	v := tea.NewView(s.model.View())
	v.AltScreen = true
	if x, y, typing := s.model.Cursor(); typing {
		v.Cursor = tea.NewCursor(x, y)
	}
	return v
}

func (s *shown) commands(list []Command) tea.Cmd {
	var all []tea.Cmd
	for _, c := range list {
		all = append(all, func() tea.Msg { return c(s.ctx) })
	}
	return tea.Batch(all...)
}

func nextTick() tea.Cmd { return tea.Tick(tickEvery, func(t time.Time) tea.Msg { return Tick(t) }) }
