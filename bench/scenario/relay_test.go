package scenario

import (
	"testing"

	"millrace/bench"
)

func TestOurRelay(t *testing.T) {
	round, env := aRound(t), anEnv(t)
	env.Scale = bench.Quick
	values, err := relayOutbox(t.Context(), env, round)
	if err != nil {
		t.Fatal(err)
	}
	t.Log(values)
}
