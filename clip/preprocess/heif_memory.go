//go:build heic

package preprocess

import "context"

// sharedMemory bounds what several take at once. They wait for each other.
type sharedMemory struct {
	parts chan struct{} // that are taken
	turn  chan struct{} // held by the one that is taking some, so that large ones are not overtaken
}

// memoryPart is the bytes of a part: a small picture takes one.
const memoryPart = 32 << 20

// sandboxMemory is that of all instances, as of two pictures of 48 megapixels. With what waits
// for the garbage collector a folder of these then takes 4.2 GB, whatever decodes it; four at
// once took 7.3.
var sandboxMemory = newSharedMemory(sandboxBytes)

func newSharedMemory(bytes int) *sharedMemory {
	return &sharedMemory{make(chan struct{}, bytes/memoryPart), make(chan struct{}, 1)}
}

// take waits for memory, of which there must be so much, until done is called or, with its
// error, until ctx ends.
func (m *sharedMemory) take(ctx context.Context, bytes int) (done func(), err error) {
	taken := 0
	done = func() {
		for range taken {
			<-m.parts
		}
	}
	select {
	case m.turn <- struct{}{}:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	defer func() { <-m.turn }()
	for range max(1, ceilDiv(bytes, memoryPart)) {
		select {
		case m.parts <- struct{}{}:
			taken++
		case <-ctx.Done():
			done()
			return nil, ctx.Err()
		}
	}
	return done, nil
}
