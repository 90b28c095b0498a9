package scenario

import "testing"

func TestBacklog(t *testing.T) {
	waiting, handled := backlogSize(anEnv(t).Scale)
	values, err := keepPace(t.Context(), anEnv(t), aRound(t), waiting, waiting)
	t.Log(values, err)
	values, err = keepPace(t.Context(), anEnv(t), aRound(t), subscriberSpan, handled)
	t.Log(values, err)
}
