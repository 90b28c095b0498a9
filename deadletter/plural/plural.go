// Package plural counts things in words.
package plural

import "fmt"

// Of is a number of things: "1 letter", "2 letters". What is said of them may follow: "letter was", "letters were".
func Of[N int | int64](n N, one, many string) string {
	return fmt.Sprintf("%d %s", n, Word(n, one, many))
}

// Word is the word for so many: one for exactly 1, else many.
func Word[N int | int64](n N, one, many string) string {
	if n == 1 {
		return one
	}
	return many
}
