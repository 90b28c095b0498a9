package scenario

import "testing"

func TestIdle(t *testing.T) {
	values, err := handleAndRelay(t.Context(), anEnv(t), aRound(t))
	t.Log(values, err)
	values, err = besideIdle(handleAndRelay)(t.Context(), anEnv(t), aRound(t))
	t.Log(values, err)
}
