package filter

import "strings"

const (
	// leastBeginning is how much of a name must be there for its beginning to be told from a slip.
	leastBeginning = 2
	// slipEvery is how many letters of a word may have one slip among them.
	slipEvery = 3
)

// Guess is the one of names that a mistyped word stands for most likely: one that it begins, or the one with the fewest
// letters left out, added, changed or swapped. It is empty where none is like it.
func Guess(word string, names []string) string {
	word = strings.ToLower(word)
	best, fewest := "", len(word)/slipEvery+1
	for _, name := range names {
		lower := strings.ToLower(name)
		if len(word) >= leastBeginning && strings.HasPrefix(lower, word) {
			return name
		}
		if n := slips([]rune(word), []rune(lower)); n < fewest || n == fewest && best == "" {
			best, fewest = name, n
		}
	}
	return best
}

// slips is the optimal string alignment distance of two words.
func slips(a, b []rune) int {
	d := make([][]int, len(a)+1)
	for i := range d {
		d[i] = make([]int, len(b)+1)
		d[i][0] = i
	}
	for j := range d[0] {
		d[0][j] = j
	}
	for i := 1; i <= len(a); i++ {
		for j := 1; j <= len(b); j++ {
			changed := 1
			if a[i-1] == b[j-1] {
				changed = 0
			}
			d[i][j] = min(d[i-1][j]+1, d[i][j-1]+1, d[i-1][j-1]+changed)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				d[i][j] = min(d[i][j], d[i-2][j-2]+1)
			}
		}
	}
	return d[len(a)][len(b)]
}

// there says what there is instead of a word, and which of it was meant perhaps.
func there(word string, names []string) string {
	list := "there are " + strings.Join(names, ", ")
	if guess := Guess(word, names); guess != "" {
		return "did you mean " + guess + "? T" + list[1:]
	}
	return list
}
