package bench

import (
	"fmt"
	"html"
	"math"
	"strings"
)

// Sizes of the plots, in SVG's user units: pixels at the size at which a page shows them.
const (
	plotWidth   = 760
	labelWidth  = 210 // left of the bars
	numberWidth = 90  // right of them
	titleHeight = 30
	barPitch    = 26
	barHeight   = 14
	dotRadius   = 3
)

// Colours that can be told apart in print and by the colour-blind, on white.
const (
	ourColour   = "#0072b2"
	theirColour = "#e69f00"
	goalColour  = "#d55e00"
	inkColour   = "#222222"
	gridColour  = "#dddddd"
)

// bar is one bar of a plot: the median, and each round as a dot upon it.
type bar struct {
	Label  string
	Value  float64
	Rounds []float64
	Ours   bool
	Goal   float64 // where a mark stands; 0: nowhere
}

// barPlot draws bars from zero on one scale. One side may be a hundred times the other; that is to be seen.
func barPlot(title string, bars []bar) string {
	top := 0.0
	for _, b := range bars {
		top = math.Max(top, math.Max(b.Value, b.Goal))
		for _, v := range b.Rounds {
			top = math.Max(top, v)
		}
	}
	if top == 0 {
		top = 1
	}
	x := func(v float64) float64 {
		return labelWidth + math.Max(v, 0)/top*(plotWidth-labelWidth-numberWidth)
	}
	s := newSVG(plotWidth, titleHeight+barPitch*len(bars)+barPitch/2, title)
	for i, b := range bars {
		y := float64(titleHeight + barPitch*i)
		middle := y + barHeight/2
		colour := theirColour
		if b.Ours {
			colour = ourColour
		}
		s.text(labelWidth-8, middle+4, "end", b.Label)
		s.add(`<rect x="%d" y="%.1f" width="%.1f" height="%d" fill="%s" fill-opacity="0.55"/>`, labelWidth, y, x(b.Value)-labelWidth, barHeight, colour)
		right := x(b.Value)
		for _, v := range b.Rounds {
			right = math.Max(right, x(v))
			s.add(`<circle cx="%.1f" cy="%.1f" r="%d" fill="%s"/>`, x(v), middle, dotRadius, colour)
		}
		if b.Goal > 0 {
			right = math.Max(right, x(b.Goal))
			s.add(`<line x1="%.1f" y1="%.1f" x2="%.1f" y2="%.1f" stroke="%s" stroke-width="2" stroke-dasharray="3 2"/>`, x(b.Goal), y-4, x(b.Goal), y+barHeight+4, goalColour)
		}
		s.text(right+8, middle+4, "start", number(b.Value))
	}
	return s.end()
}

// svg writes a picture.
type svg struct{ strings.Builder }

func newSVG(width, height int, title string) *svg {
	s := &svg{}
	s.add(`<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" width="%[1]d" height="%[2]d" font-family="sans-serif" font-size="12" fill="%s">`, width, height, inkColour)
	s.add(`<title>%s</title>`, html.EscapeString(title))
	s.add(`<rect width="100%%" height="100%%" fill="white"/>`) // a dark page would swallow the ink
	s.add(`<text x="8" y="18" font-weight="bold">%s</text>`, html.EscapeString(title))
	return s
}

func (s *svg) add(format string, args ...any) { fmt.Fprintf(s, format+"\n", args...) }

func (s *svg) text(x, y float64, anchor, text string) {
	s.add(`<text x="%.1f" y="%.1f" text-anchor="%s">%s</text>`, x, y, anchor, html.EscapeString(text))
}

func (s *svg) end() string {
	s.add(`</svg>`)
	return s.String()
}
