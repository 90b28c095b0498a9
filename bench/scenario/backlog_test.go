package scenario

import "testing"

func TestBacklog(t *testing.T) {
	waiting, handled := backlogSize(anEnv(t).Scale)
	values, err := keepPace(t.Context(), anEnv(t), aRound(t), waiting, waiting)
	t.Log(values, err)
	values, err = keepPace(t.Context(), anEnv(t), aRound(t), inFlight, handled)
	t.Log(values, err)
}
