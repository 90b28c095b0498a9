package main

import (
	"fmt"
	"io"
	"strings"
	"time"
	"unicode"
	"unicode/utf16"

	"millrace/deadletter"
)

// Letters hold what others wrote: none of it may steer the terminal it is shown on.

// harmful tells whether a character does something to a terminal or to the text around it, instead of being shown:
// controls, C1 and DEL included, and those that hide text or turn its direction.
func harmful(r rune) bool {
	return unicode.IsControl(r) || unicode.In(r, unicode.Cf, unicode.Zl, unicode.Zp)
}

// clean is text on one line, without what is harmful.
func clean(text string) string {
	return strings.Join(strings.Fields(strings.Map(func(r rune) rune {
		if harmful(r) {
			return ' '
		}
		return r
	}, text)), " ")
}

// oneLine is clean text that is not wider than that many columns.
func oneLine(text string, width int) string { return cut(clean(text), width) }

// cut leaves out the end of what is too wide.
func cut(text string, width int) string {
	if displayWidth(text) <= width {
		return text
	}
	return beginning(text, width-1) + "…"
}

// beginning is as much of text as that many columns hold.
func beginning(text string, width int) string {
	for i, r := range text {
		if width -= runeWidth(r); width < 0 {
			return text[:i]
		}
	}
	return text
}

// cutMiddle leaves out the middle: errors begin with where, and end with what.
func cutMiddle(text string, width int) string {
	if displayWidth(text) <= width {
		return text
	}
	end := cutStart(text, width/2)
	return beginning(text, width-displayWidth(end)) + end
}

// cutStart leaves out the beginning: of ids that were made at the same time, the ends differ.
func cutStart(text string, width int) string {
	if displayWidth(text) <= width {
		return text
	}
	runes := []rune(text)
	from, left := len(runes), width-1
	for from > 0 && left >= runeWidth(runes[from-1]) {
		from--
		left -= runeWidth(runes[from])
	}
	return "…" + string(runes[from:])
}

// displayWidth is how many columns of a terminal text takes.
func displayWidth(text string) (n int) {
	for _, r := range text {
		n += runeWidth(r)
	}
	return n
}

// firstEmoji and lastEmoji bound the blocks whose characters take two columns, as those of East Asian scripts do.
const (
	firstEmoji = 0x1F300
	lastEmoji  = 0x1FAFF
	firstFull  = 0xFF01
	lastFull   = 0xFF60
)

func runeWidth(r rune) int {
	switch {
	case r < 0x300:
		return 1
	case unicode.In(r, unicode.Mn, unicode.Me, unicode.Cf):
		return 0
	case unicode.In(r, unicode.Han, unicode.Hiragana, unicode.Katakana, unicode.Hangul),
		r >= firstEmoji && r <= lastEmoji, r >= firstFull && r <= lastFull:
		return 2
	default:
		return 1
	}
}

// escapeJSON writes what is harmful in a JSON text as \u escapes, which mean the same. Line breaks between its parts stay.
func escapeJSON(text string) string {
	if strings.IndexFunc(text, func(r rune) bool { return r != '\n' && harmful(r) }) < 0 {
		return text
	}
	var b strings.Builder
	for _, r := range text {
		switch {
		case r == '\n' || !harmful(r):
			b.WriteRune(r)
		case r > 0xFFFF:
			high, low := utf16.EncodeRune(r)
			fmt.Fprintf(&b, `\u%04x\u%04x`, high, low)
		default:
			fmt.Fprintf(&b, `\u%04x`, r)
		}
	}
	return b.String()
}

// printLettersJSON prints what holds parts of letters. It is printJSON, safe on a terminal.
func printLettersJSON(w io.Writer, v any) error {
	var b strings.Builder
	if err := printJSON(&b, v); err != nil {
		return err
	}
	_, err := io.WriteString(w, escapeJSON(b.String()))
	return err
}

// wrapped is text in lines of that width, broken at spaces where there are some. A width of 0 breaks nothing.
func wrapped(text string, width int) (lines []string) {
	text = clean(text)
	if width <= 0 {
		return []string{text}
	}
	line := ""
	for _, word := range strings.Fields(text) {
		if line != "" && displayWidth(line)+1+displayWidth(word) <= width {
			line += " " + word
			continue
		}
		if line != "" {
			lines = append(lines, line)
		}
		for displayWidth(word) > width {
			head := beginning(word, width)
			if head == "" { // a single character is too wide
				break
			}
			lines, word = append(lines, head), word[len(head):]
		}
		line = word
	}
	return append(lines, line)
}

// ago is how long before now, in one unit.
func ago(now, at time.Time) string { return deadletter.Age(now, at) + " ago" }

// shellSafe are the characters that need no quotes in a shell.
const shellSafe = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_./:=@%+,-"

// pasteable is a command that can be pasted into a shell.
func pasteable(words ...string) string {
	for i, w := range words {
		if w == "" || strings.Trim(w, shellSafe) != "" {
			words[i] = "'" + strings.ReplaceAll(w, "'", `'\''`) + "'"
		}
	}
	return strings.Join(words, " ")
}
