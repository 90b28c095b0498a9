package ui

import (
	"errors"
	"strings"

	"millrace/deadletter/filter"
)

// askFilter opens the line for the filter.
func (m *Model) askFilter() {
	in := &input{title: "Filter (service:payment since:2h error~timeout body.total.amount>=100; empty: none)", text: []rune(m.filter), wrongAt: -1}
	in.at = len(in.text)
	in.enter = func(text string) []Command {
		if _, err := m.parse(text); err != nil {
			in.problem = err.Error()
			if wrong := (*filter.SyntaxError)(nil); errors.As(err, &wrong) {
				in.wrongAt = len([]rune(text[:min(wrong.At, len(text))]))
			}
			return nil
		}
		m.filter = text
		return m.chosenAnew()
	}
	m.open(in)
}

func (m *Model) open(in *input) { m.input, m.note = in, "" }

// askReason opens the line for the reason of a decision, which is kept with it.
func (m *Model) askReason(title string, decide func(reason string) []Command) {
	in := &input{title: title, wrongAt: -1}
	in.enter = func(text string) []Command {
		if text == "" {
			in.problem = "A reason is needed: it stays with the letter."
			return nil
		}
		return decide(text)
	}
	m.open(in)
}

// chosenAnew shows what another filter chooses.
func (m *Model) chosenAnew() []Command {
	if m.at == atLetters {
		m.letters.forget()
		return []Command{m.loadLetters()}
	}
	m.at = atGroups
	m.groups.forget()
	return []Command{m.loadGroups()}
}

// waitingOnly are the letters that wait for somebody, or for their turn.
const waitingOnly = "(status:new or status:retrying or status:redriving)"

// selection is the filter for what is shown, as text: what was typed, and what else is asked of it.
func (m *Model) selection(more string) string {
	var terms []string
	if m.filter != "" {
		terms = append(terms, "("+m.filter+")")
	}
	if more != "" {
		terms = append(terms, more)
	}
	if !m.closed && !m.asksStatus() {
		terms = append(terms, waitingOnly)
	}
	return strings.Join(terms, " ")
}

// asksStatus tells that the filter says which letters are wanted, settled or not.
func (m *Model) asksStatus() bool {
	c, err := m.parse(m.filter)
	return err == nil && c.Status
}

// condition is the same as the database takes it. Times that are counted back are counted from now.
func (m *Model) condition(more string) (filter.Condition, error) {
	return m.parse(m.selection(more))
}

func (m *Model) parse(text string) (filter.Condition, error) { return m.fields.Parse(text, m.now) }
