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
}

const (
	columnGap = 2
	// minText is how much room the last column needs to stand in its row.
	minText = 30
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
		if room = width - total(); room < minText {
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
		line(func(i int) string { return cells[i] }, cut(cells[text], room))
		if below && cells[text] != "" {
			fmt.Fprintf(&b, "%*s%s\n", columnGap, "", cut(cells[text], room))
		}
	}
	_, err := io.WriteString(w, b.String())
	return err
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
	if err != nil || width < minText {
		return 0
	}
	return width
}
