package config

import (
	"encoding/json"

	"github.com/clip-wgpu/clip-wgpu/internal/strictjson"
)

// Size is a height and a width; in JSON one number for both, or a pair, and null
// where it is zero.
type Size [2]int

// UnmarshalJSON implements json.Unmarshaler.
func (s *Size) UnmarshalJSON(data []byte) error {
	var one int
	if json.Unmarshal(data, &one) == nil {
		*s = Size{one, one}
		return nil
	}
	var pair []int
	if json.Unmarshal(data, &pair) != nil || len(pair) != 2 {
		return strictjson.WantError("a whole number or a pair [height, width]")
	}
	*s = Size(pair)
	return nil
}

// MarshalJSON implements json.Marshaler.
func (s Size) MarshalJSON() ([]byte, error) {
	if s == (Size{}) {
		return []byte("null"), nil
	}
	if s[0] == s[1] {
		return json.Marshal(s[0])
	}
	return json.Marshal([2]int(s))
}

// Layers is a transformer's number of blocks, or a ModifiedResNet's four
// numbers of bottlenecks.
type Layers []int

// UnmarshalJSON implements json.Unmarshaler.
func (l *Layers) UnmarshalJSON(data []byte) error {
	var one int
	if json.Unmarshal(data, &one) == nil {
		*l = Layers{one}
		return nil
	}
	var list []int
	if json.Unmarshal(data, &list) != nil || len(list) != 4 {
		return strictjson.WantError("a whole number or a list of four")
	}
	*l = list
	return nil
}

// MarshalJSON implements json.Marshaler.
func (l Layers) MarshalJSON() ([]byte, error) {
	if len(l) == 1 {
		return json.Marshal(l[0])
	}
	return json.Marshal([]int(l))
}

// AttentionalPool is open_clip's attentional_pool: false, true, "parallel" or
// "cascade".
type AttentionalPool string

const (
	PoolerNone     AttentionalPool = ""
	PoolerSingle   AttentionalPool = "true"
	PoolerParallel AttentionalPool = "parallel"
	PoolerCascade  AttentionalPool = "cascade"
)

// UnmarshalJSON implements json.Unmarshaler.
func (p *AttentionalPool) UnmarshalJSON(data []byte) error {
	switch string(data) {
	case "false", "null", `""`:
		*p = PoolerNone
	case "true":
		*p = PoolerSingle
	case `"parallel"`:
		*p = PoolerParallel
	case `"cascade"`:
		*p = PoolerCascade
	default:
		return strictjson.WantError(`false, true, "parallel" or "cascade"`)
	}
	return nil
}

// MarshalJSON implements json.Marshaler.
func (p AttentionalPool) MarshalJSON() ([]byte, error) {
	switch p {
	case PoolerNone:
		return []byte("false"), nil
	case PoolerSingle:
		return []byte("true"), nil
	}
	return json.Marshal(string(p))
}
