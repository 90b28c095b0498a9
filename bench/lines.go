package bench

import (
	"fmt"
	"math"
	"strings"
)

// timeAxis is the series that holds the others' times, in seconds.
const timeAxis = "seconds"

// Sizes of a panel of lines, as those in svg.go.
const (
	panelHeight = 130
	panelTop    = 24 // below the panel's own title
	panelFoot   = 22
	axisWidth   = 80 // left of the lines
)

// line is one series of one run.
type line struct {
	X, Y []float64
	Ours bool
}

// panel is the lines that share a scale.
type panel struct {
	Title string
	Lines []line
}

// panelsOf gathers the series of a scenario's rows, one panel per name. Without a time axis values are
// drawn by their number.
func panelsOf(rows []Row, ourSide string) []panel {
	named := map[string]*panel{}
	for _, r := range rows {
		for name, y := range r.Series {
			if name == timeAxis || len(y) < 2 {
				continue
			}
			x := r.Series[timeAxis]
			if len(x) < len(y) {
				x = make([]float64, len(y))
				for i := range x {
					x[i] = float64(i)
				}
			}
			if named[name] == nil {
				named[name] = &panel{Title: strings.ReplaceAll(name, "_", " ")}
			}
			named[name].Lines = append(named[name].Lines, line{X: x[:len(y)], Y: y, Ours: strings.HasPrefix(r.Side, ourSide)})
		}
	}
	var panels []panel
	for _, name := range sortedKeys(named) {
		panels = append(panels, *named[name])
	}
	return panels
}

// linePlot draws the panels one below the other, each from zero.
func linePlot(title string, panels []panel) string {
	s := newSVG(plotWidth, titleHeight+panelHeight*len(panels), title)
	for i, p := range panels {
		s.panel(p, float64(titleHeight+panelHeight*i))
	}
	return s.end()
}

func (s *svg) panel(p panel, top float64) {
	low, high, last := 0.0, 0.0, 0.0
	for _, l := range p.Lines {
		for i, y := range l.Y {
			low, high, last = math.Min(low, y), math.Max(high, y), math.Max(last, l.X[i])
		}
	}
	if high == low {
		high = low + 1
	}
	if last == 0 {
		last = 1
	}
	const right = plotWidth - 20
	floor, ceiling := top+panelHeight-panelFoot, top+panelTop
	x := func(v float64) float64 { return axisWidth + v/last*(right-axisWidth) }
	y := func(v float64) float64 { return floor - (v-low)/(high-low)*(floor-ceiling) }
	s.text(axisWidth, top+14, "start", p.Title)
	for _, v := range []float64{low, high} {
		s.add(`<line x1="%d" y1="%.1f" x2="%d" y2="%.1f" stroke="%s"/>`, axisWidth, y(v), right, y(v), gridColour)
		s.text(axisWidth-6, y(v)+4, "end", number(v))
	}
	s.text(right, floor+15, "end", number(last)+" s")
	for _, l := range p.Lines {
		colour := theirColour
		if l.Ours {
			colour = ourColour
		}
		points := &strings.Builder{}
		for i := range l.Y {
			fmt.Fprintf(points, "%.1f,%.1f ", x(l.X[i]), y(l.Y[i]))
		}
		s.add(`<polyline points="%s" fill="none" stroke="%s" stroke-width="1.5"/>`, strings.TrimSpace(points.String()), colour)
	}
}
