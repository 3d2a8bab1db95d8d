package search

import "sync"

// maxRecent is how many terms' vectors are remembered.
const maxRecent = 256

// recent remembers vectors by their terms' keys, the last maxRecent of them.
type recent struct {
	mu      sync.Mutex
	vectors map[string][]float32
	keys    []string // as they came
}

func (r *recent) get(key string) []float32 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.vectors[key]
}

func (r *recent) put(key string, vector []float32) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.vectors == nil {
		r.vectors = map[string][]float32{}
	}
	if r.vectors[key] == nil {
		r.keys = append(r.keys, key)
	}
	r.vectors[key] = vector
	if len(r.keys) > maxRecent {
		delete(r.vectors, r.keys[0])
		r.keys = r.keys[1:]
	}
}
