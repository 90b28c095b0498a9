package ui

import (
	"strings"
	"unicode"

	"github.com/charmbracelet/x/ansi"
)

// maxInput bounds what can be typed or pasted: filters and reasons are one line.
const maxInput = 1000

// input is one line that is being typed.
type input struct {
	title   string // what it is for
	text    []rune
	at      int
	problem string // what is wrong with what was entered last
	wrongAt int    // where, in runes; -1: nowhere in particular
	// enter takes what was typed; it may set the problem, and keep the line open.
	enter func(text string) []Command
}

// insert puts in what was typed or pasted. A pasted line break is a blank.
func (in *input) insert(s string) {
	s = strings.TrimRight(s, "\r\n")
	var more []rune
	for _, r := range s {
		switch {
		case r == '\n' || r == '\r' || r == '\t':
			more = append(more, ' ')
		case unicode.IsGraphic(r) && r != unicode.ReplacementChar:
			more = append(more, r)
		}
	}
	more = more[:min(len(more), maxInput-len(in.text))]
	in.text = append(in.text[:in.at:in.at], append(more, in.text[in.at:]...)...)
	in.at += len(more)
}

// edit is what a key does to the line.
func (in *input) edit(key string) {
	switch key {
	case "left", "ctrl+b":
		in.at = max(in.at-1, 0)
	case "right", "ctrl+f":
		in.at = min(in.at+1, len(in.text))
	case "home", "ctrl+a":
		in.at = 0
	case "end", "ctrl+e":
		in.at = len(in.text)
	case "backspace", "ctrl+h":
		in.remove(in.at-1, in.at)
	case "delete", "ctrl+d":
		in.remove(in.at, in.at+1)
	case "ctrl+u":
		in.remove(0, in.at)
	case "ctrl+k":
		in.remove(in.at, len(in.text))
	case "ctrl+w":
		from := in.at
		for from > 0 && in.text[from-1] == ' ' {
			from--
		}
		for from > 0 && in.text[from-1] != ' ' {
			from--
		}
		in.remove(from, in.at)
	case "space":
		in.insert(" ")
	default:
		if r := []rune(key); len(r) == 1 {
			in.insert(key)
		}
	}
}

func (in *input) remove(from, to int) {
	from, to = max(from, 0), min(to, len(in.text))
	if from >= to {
		return
	}
	in.text = append(in.text[:from:from], in.text[to:]...)
	in.at = from
}

// inputMark stands before the line.
const inputMark = "> "

// view is the line in so many columns, with the part shown that is being typed at, and the column of a place in it.
func (in *input) view(width, place int) (text string, column int) {
	room := max(width-len(inputMark)-1, 1) // one for the cursor behind the last letter
	from := in.at
	for from > 0 && ansi.StringWidth(string(in.text[from-1:in.at])) <= room {
		from--
	}
	place = min(max(place, from), len(in.text))
	column = len(inputMark) + ansi.StringWidth(string(in.text[from:place]))
	return inputMark + cut(string(in.text[from:]), room), column
}
