package ui

import (
	"fmt"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/charmbracelet/x/ansi"

	"millrace/deadletter/plural"
)

// clean is text that does nothing to a terminal but show: line breaks and tabs become blanks, and whatever
// is no graphic character (control, direction, zero width, broken UTF-8) is written out as an escape.
func clean(s string) string {
	if strings.IndexFunc(s, func(r rune) bool { return r == utf8.RuneError || !unicode.IsGraphic(r) }) < 0 {
		return s
	}
	var b strings.Builder
	for i := 0; i < len(s); {
		r, n := utf8.DecodeRuneInString(s[i:])
		switch {
		case r == utf8.RuneError && n == 1:
			fmt.Fprintf(&b, `\x%02x`, s[i])
		case r == '\n' || r == '\r' || r == '\t':
			b.WriteByte(' ')
		case !unicode.IsGraphic(r):
			b.WriteString(strings.Trim(strconv.QuoteRuneToASCII(r), "'"))
		default:
			b.WriteRune(r)
		}
		i += n
	}
	return b.String()
}

// cut is text in so many columns at most; what is missing is shown by an ellipsis.
func cut(s string, width int) string {
	if width <= 0 {
		return ""
	}
	return ansi.Truncate(s, width, "…")
}

// pad is text in exactly so many columns.
func pad(s string, width int) string {
	s = cut(s, width)
	return s + strings.Repeat(" ", max(width-ansi.StringWidth(s), 0))
}

// padLeft is the same, at the right end of its columns.
func padLeft(s string, width int) string {
	s = cut(s, width)
	return strings.Repeat(" ", max(width-ansi.StringWidth(s), 0)) + s
}

// wrap breaks clean text into lines of so many columns: at a blank, where there is one in the second half, otherwise
// anywhere. Nothing is lost but the blanks at the breaks.
func wrap(s string, width int) []string {
	width = max(width, 1)
	var lines []string
	start, used := 0, 0       // where the line begins, and how much of it is used
	blank, usedThere := -1, 0 // its last blank
	for i := 0; i < len(s); {
		cluster, w := ansi.FirstGraphemeCluster(s[i:], ansi.GraphemeWidth)
		if used+w > width && i > start {
			switch {
			case cluster == " ":
				lines, start, used = append(lines, s[start:i]), i+1, 0
				i++
			case blank >= 0 && usedThere >= width/2:
				lines, start, used = append(lines, s[start:blank]), blank+1, used-usedThere-1
			default:
				lines, start, used = append(lines, s[start:i]), i, 0
			}
			blank = -1
			continue
		}
		if cluster == " " {
			blank, usedThere = i, used
		}
		used += w
		i += len(cluster)
	}
	if start < len(s) || len(lines) == 0 {
		lines = append(lines, s[start:])
	}
	return lines
}

// count is a number with its thousands set off.
func count(n int64) string {
	s := strconv.FormatInt(n, 10)
	for i := len(s) - 3; i > 0 && s[i-1] != '-'; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

// lettersOf is so many letters, in words.
func lettersOf(n int64) string {
	return count(n) + " " + plural.Word(n, "letter", "letters")
}

// shortID is how much of a letter's id is shown in a list: as much as tells letters apart, and more than the commands
// need.
const shortID = 8

func short(id string) string { return id[:min(shortID, len(id))] }
