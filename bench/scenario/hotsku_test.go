package scenario

import (
	"context"
	"testing"

	"millrace/bench"
	"millrace/bench/rig"
)

func TestHotSKU(t *testing.T) {
	for name, reserve := range map[string]func(context.Context, *bench.Env, *rig.Round) (bench.Values, error){
		"ours": reserveThroughStore, "step by step": reserveStepByStep, "at once": reserveAtOnce,
	} {
		t.Run(name, func(t *testing.T) {
			values, err := reserve(t.Context(), anEnv(t), aRound(t))
			if err != nil {
				t.Fatal(err)
			}
			t.Log(values)
		})
	}
}
