package ui

import (
	"strings"
	"testing"
	"unicode"

	"github.com/charmbracelet/x/ansi"
	"pgregory.net/rapid"
)

func TestClean(t *testing.T) {
	for in, want := range map[string]string{
		"plain":               "plain",
		"a\nb\tc\rd":          "a b c d",
		"\x1b[31mred":         `\x1b[31mred`,
		"nul\x00":             `nul\x00`,
		"\u202eevil\u200b":    `\u202eevil\u200b`,
		"\xffbroken":          `\xffbroken`,
		"csi \u009b":          `csi \u009b`,
		"Zoë Żółć 漢字":         "Zoë Żółć 漢字",
		"that is \uFFFD here": "that is \uFFFD here",
	} {
		if got := clean(in); got != want {
			t.Errorf("clean(%q) is %q, want %q", in, got, want)
		}
	}
	rapid.Check(t, func(t *rapid.T) {
		text := string(rapid.SliceOf(rapid.Byte()).Draw(t, "bytes"))
		for _, r := range clean(text) {
			if !unicode.IsGraphic(r) {
				t.Fatalf("%U is left of %q", r, text)
			}
		}
	})
}

// Whatever the text and the width: no line is wider, and nothing but blanks at breaks is lost.
func TestWrap(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		text := clean(rapid.StringOf(rapid.SampledFrom([]rune("abcde  fg,漢é́👍"))).Draw(t, "text"))
		width := rapid.IntRange(2, 20).Draw(t, "width")
		lines := wrap(text, width)
		for _, l := range lines {
			if ansi.StringWidth(l) > width {
				t.Fatalf("%q is wider than %d", l, width)
			}
		}
		squeeze := func(s string) string { return strings.ReplaceAll(s, " ", "") }
		if got := squeeze(strings.Join(lines, "")); got != squeeze(text) {
			t.Fatalf("%q became %q", text, lines)
		}
	})
	for text, want := range map[string]string{
		"":                            "",
		"one two three":               "one two|three",
		"one  two":                    "one  two",
		"averyverylongword is broken": "averyverylo|ngword is|broken",
		"12345678901 rest":            "12345678901|rest",
	} {
		if got := strings.Join(wrap(text, 11), "|"); got != want {
			t.Errorf("wrap(%q) is %q, want %q", text, got, want)
		}
	}
}

func TestNumbers(t *testing.T) {
	for n, want := range map[int64]string{0: "0", 999: "999", 1000: "1,000", 1234567: "1,234,567", -1000: "-1,000"} {
		if got := count(n); got != want {
			t.Errorf("count(%d) is %s, want %s", n, got, want)
		}
	}
}

// A line that is typed shows the part with the cursor.
func TestInputView(t *testing.T) {
	in := &input{}
	in.insert(strings.Repeat("0123456789", 3))
	if text, column := in.view(20, in.at); text != "> 34567890123456789" || column != 19 {
		t.Errorf("the end is shown as %q, %d", text, column)
	}
	in.edit("home")
	if text, column := in.view(20, in.at); text != "> 0123456789012345…" || column != 2 {
		t.Errorf("the beginning is shown as %q, %d", text, column)
	}
	in.insert(strings.Repeat("x", 2*maxInput))
	if len(in.text) != maxInput {
		t.Errorf("%d characters were taken in", len(in.text))
	}
}
