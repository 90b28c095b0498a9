package ui

import "strings"

// helpText is the whole help. It is narrow enough for the smallest terminal that is wide.
const helpText = `Everywhere
  up down k j      move; pgup pgdown home end g G too
  enter esc        into what is chosen, and back
  ?                this help
  q ctrl+c         quit, also in the middle of a redrive
  ctrl+z ctrl+l    suspend; draw the screen anew

Groups: one line for each kind of failure
  LETTERS          how many there are
  ORDERS           how many orders they hold up
  PARKED           messages parked behind them
  TREND            up, down, flat: the last hour beside
                   the one before; quiet: none in both
  r                redrive the group's waiting letters
  /                filter: service:payment since:2h
                   error~timeout body.total.amount>=10000
                   router dlq --help has the whole language
  a                show settled letters too, or not

Letters of a group, the youngest first
  r                redrive the chosen letter
  R                redrive all waiting ones of the group
                   that meet the filter
  d                drop it: it counts as processed, what
                   waits behind it goes on
  u                take a dropped one up again

One letter
  verdict          what a redrive would do now: found out
                   by running it, and rolling back
  v                find it out again
  n p              the next letter, the previous one
  tab              the next part: what waits, body,
                   headers, what was done
  r d u            as above

Redrive
  The letters are noted first. One goes, then more and
  more; at the first that fails again no more are asked
  for. What was asked for goes on, whatever happens here.
  s                stop asking
  r                go on with the rest
  router dlq redrive --resume ID
                   goes on at any time, with --rate and
                   --max-failures if wanted

What is on the screen is read anew every few seconds.
Editing, exporting, dry runs: router dlq --help`

// helpView is the help, and how far it is scrolled.
type helpView struct{ top int }

var helpLines = strings.Split(helpText, "\n")

func (h *helpView) key(k string, m *Model) {
	switch k {
	case "esc", "?", "enter", "left", "backspace":
		m.help = nil
	default:
		h.top = scrolled(k, h.top, len(helpLines), m.bodyHeight())
	}
}

func (h *helpView) body(width, height int) []line {
	h.top = max(min(h.top, len(helpLines)-height), 0)
	var lines []line
	for _, t := range helpLines[h.top:min(h.top+height, len(helpLines))] {
		style := plain
		if t != "" && t[0] != ' ' {
			style = bold
		}
		lines = append(lines, line{cut("  "+t, width), style})
	}
	return lines
}
