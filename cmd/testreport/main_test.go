package main

import (
	"strings"
	"testing"
)

const (
	good = `{"Action":"run","Package":"p","Test":"TestA"}
{"Action":"output","Package":"p","Test":"TestA","Output":"=== RUN   TestA\n"}
{"Action":"output","Package":"p","Test":"TestA","Output":"chatter\n"}
{"Action":"pass","Package":"p","Test":"TestA"}
{"Action":"output","Package":"p","Output":"PASS\n"}
{"Action":"output","Package":"p","Output":"ok  \tp\t0.1s\n"}
{"Action":"pass","Package":"p"}
`
	skipped = `{"Action":"output","Package":"p","Test":"TestB","Output":"    b_test.go:1: no Java\n"}
{"Action":"output","Package":"p","Test":"TestB","Output":"--- SKIP: TestB (0.00s)\n"}
{"Action":"skip","Package":"p","Test":"TestB"}
{"Action":"output","Package":"p","Test":"TestBB","Output":"    b_test.go:7: no Java\n"}
{"Action":"skip","Package":"p","Test":"TestBB"}
`
	bad = `{"Action":"output","Package":"q","Test":"TestC","Output":"    c_test.go:1: 1, want 2\n"}
{"Action":"fail","Package":"q","Test":"TestC"}
{"Action":"output","Package":"q","Output":"FAIL\tq\t0.1s\n"}
{"Action":"fail","Package":"q"}
`
	died = `{"Action":"output","Package":"r","Test":"TestD","Output":"panic: gone\n"}
{"Action":"fail","Package":"r"}
`
	unbuilt = `{"ImportPath":"s","Action":"build-output","Output":"s.go:1: undefined: x\n"}
{"ImportPath":"s","Action":"build-fail"}
`
)

func TestReport(t *testing.T) {
	for name, c := range map[string]struct {
		in   string
		ok   bool
		want []string
		not  string
	}{
		"good":            {good, true, []string{"ok  \tp\t0.1s", "1 passed, 0 failed, 0 left out"}, "chatter"},
		"left out":        {good + skipped, true, []string{"left out, 2: no Java\n", "1 passed, 0 failed, 2 left out"}, "chatter"},
		"a failed test":   {good + bad, false, []string{"1, want 2", "FAIL\tq", "1 passed, 1 failed"}, "chatter"},
		"a dead package":  {good + died, false, []string{"panic: gone"}, "chatter"},
		"does not build":  {good + unbuilt, false, []string{"undefined: x"}, "chatter"},
		"no JSON":         {good + "go: cannot find module\n", true, []string{"go: cannot find module"}, "chatter"},
		"no newline last": {strings.TrimSpace(good), true, []string{"1 passed"}, "chatter"},
	} {
		t.Run(name, func(t *testing.T) {
			var out strings.Builder
			ok, err := report(strings.NewReader(c.in), &out)
			if err != nil || ok != c.ok {
				t.Errorf("%t, %v", ok, err)
			}
			for _, want := range c.want {
				if !strings.Contains(out.String(), want) {
					t.Errorf("%q is missing in:\n%s", want, &out)
				}
			}
			if strings.Contains(out.String(), c.not) {
				t.Errorf("%q is in:\n%s", c.not, &out)
			}
		})
	}
}

func TestNoTestsAtAllIsAnError(t *testing.T) {
	if ok, err := report(strings.NewReader(""), &strings.Builder{}); ok || err == nil {
		t.Errorf("%t, %v", ok, err)
	}
}

// Who looks at the end sees what went wrong, and not only the log below it.
func TestWhatAFailedTestSaidIsRepeatedBelowALongLog(t *testing.T) {
	said := "    a_test.go:7: not within 1m: it is done\n" + strings.Repeat("        a line of a log\n", longOutput)
	got := inShort(said + "--- FAIL: TestA (61.00s)\n")
	if want := said + "    in short: a_test.go:7: not within 1m: it is done\n--- FAIL: TestA (61.00s)\n"; got != want {
		t.Errorf("got %q", got)
	}
	if short := "    a_test.go:7: 1, want 2\n--- FAIL: TestA (0.00s)\n"; inShort(short) != short {
		t.Errorf("%q is repeated: %q", short, inShort(short))
	}
}
