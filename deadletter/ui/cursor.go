package ui

// cursor is a place in a list, and the part of the list that is on the screen.
type cursor struct {
	at  int // the row chosen
	top int // the first row shown
}

// keep has the chosen row exist, and be on a screen of so many rows.
func (c *cursor) keep(n, height int) {
	c.at = min(max(c.at, 0), max(n-1, 0))
	c.top = min(c.top, c.at)
	c.top = max(c.top, c.at-height+1)
	c.top = max(min(c.top, n-height), 0)
}

// moved is where a key leads from place i among n, of which height are on the screen. It tells whether the key is one
// that moves.
func moved(key string, i, n, height int) (int, bool) {
	page := max(height-1, 1) // one row stays, so that the eye finds on
	switch key {
	case "up", "k":
		i--
	case "down", "j":
		i++
	case "pgup", "b", "ctrl+b":
		i -= page
	case "pgdown", "space", "ctrl+f":
		i += page
	case "home", "g":
		i = 0
	case "end", "G":
		i = n - 1
	default:
		return i, false
	}
	return min(max(i, 0), max(n-1, 0)), true
}

// scrolled is the first line shown after a key, of a text of n lines.
func scrolled(key string, top, n, height int) int {
	switch key {
	case "up", "k":
		top--
	case "down", "j":
		top++
	case "end", "G":
		top = n
	default:
		top, _ = moved(key, top, n, height)
	}
	return max(min(top, n-height), 0)
}
