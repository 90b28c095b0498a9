package main

import (
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"

	"golang.org/x/term"
)

// column is a column of a table.
type column struct {
	name    string
	right   bool // numbers
	spare   bool // left out where there is no room for it
	fromEnd bool // cut at its beginning
}

// table is rows for people. The last column, text of any length, gets what is left of the line; where that is too
// little, a line of its own below its row.
type table struct {
	columns []column
	rows    [][]string
	// below is how many lines that may be: 1 when 0.
	below int
}

const (
	columnGap = 2
	// minText is how much room the last column needs to stand in its row.
	minText = 40
	// pipeText is how much of it is printed where no terminal sets a limit. All of it is in the JSON.
	pipeText = 200
	// minColumn is how narrow a column may become.
	minColumn = 6
)

func (t *table) add(cells ...string) {
	for i := range cells {
		cells[i] = clean(cells[i])
	}
	t.rows = append(t.rows, cells)
}

// print writes the table for a terminal of that width; 0 is none.
func (t *table) print(w io.Writer, width int) error {
	shown, widths := t.measure()
	text := len(t.columns) - 1
	total := func() (n int) {
		for _, i := range shown {
			n += widths[i] + columnGap
		}
		return n
	}
	room, below := pipeText, false
	if width > 0 {
		for i := len(shown) - 1; i >= 0 && total()+minText > width; i-- {
			if t.columns[shown[i]].spare {
				shown = append(shown[:i:i], shown[i+1:]...)
			}
		}
		if room = width - total(); room < minText || t.below > 1 && t.longest() > room {
			room, below = width-columnGap, true
		}
		for below && total()-columnGap > width && t.narrow(shown, widths) {
		}
	}
	var b strings.Builder
	line := func(cell func(i int) string, last string) {
		var row strings.Builder
		for _, i := range shown {
			t.pad(&row, i, cell(i), widths[i])
		}
		if !below {
			row.WriteString(last)
		}
		b.WriteString(strings.TrimRight(row.String(), " ") + "\n")
	}
	line(func(i int) string { return t.columns[i].name }, t.columns[text].name)
	for _, cells := range t.rows {
		line(func(i int) string { return cells[i] }, cutMiddle(cells[text], room))
		if below {
			t.writeBelow(&b, cells[text], room)
		}
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// longest is how wide the last column wants to be.
func (t *table) longest() (n int) {
	for _, cells := range t.rows {
		n = max(n, displayWidth(cells[len(cells)-1]))
	}
	return n
}

// writeBelow writes the last column of a row on lines of their own.
func (t *table) writeBelow(b *strings.Builder, text string, width int) {
	lines := wrapped(text, width)
	if len(lines) > max(t.below, 1) {
		lines = []string{cutMiddle(text, width)}
	}
	for _, line := range lines {
		if line != "" {
			fmt.Fprintf(b, "%*s%s\n", columnGap, "", line)
		}
	}
}

// measure is all columns but the last, and how wide they want to be.
func (t *table) measure() (shown, widths []int) {
	widths = make([]int, len(t.columns)-1)
	for i := range widths {
		shown = append(shown, i)
		widths[i] = displayWidth(t.columns[i].name)
		for _, cells := range t.rows {
			widths[i] = max(widths[i], displayWidth(cells[i]))
		}
	}
	return shown, widths
}

// narrow takes a place from the widest column; false if none can give one.
func (t *table) narrow(shown, widths []int) bool {
	widest := -1
	for _, i := range shown {
		if widths[i] > minColumn && (widest < 0 || widths[i] > widths[widest]) {
			widest = i
		}
	}
	if widest < 0 {
		return false
	}
	widths[widest]--
	return true
}

func (t *table) pad(row *strings.Builder, i int, cell string, width int) {
	shorten := cut
	if t.columns[i].fromEnd {
		shorten = cutStart
	}
	cell = shorten(cell, width)
	space := strings.Repeat(" ", width-displayWidth(cell))
	if t.columns[i].right {
		cell, space = space+cell, ""
	}
	row.WriteString(cell + space + strings.Repeat(" ", columnGap))
}

// terminalWidth is how wide the terminal is that w writes to; what COLUMNS says where it is none, else 0.
func terminalWidth(w io.Writer) int {
	if file, ok := w.(*os.File); ok && term.IsTerminal(int(file.Fd())) {
		if width, _, err := term.GetSize(int(file.Fd())); err == nil && width > 0 {
			return width
		}
	}
	width, err := strconv.Atoi(os.Getenv("COLUMNS"))
	if err != nil || width < 1 {
		return 0
	}
	return width
}
