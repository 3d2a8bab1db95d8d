package guard

import (
	"errors"
	"io"
	"runtime"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func caught(f func() error) (err error) {
	defer Catch(&err)
	return f()
}

func TestCatch(t *testing.T) {
	assert.NoError(t, caught(func() error { return nil }))
	assert.Equal(t, io.EOF, caught(func() error { return io.EOF }))

	err := caught(func() error { panic("a\tword") })
	var p *PanicError
	require.ErrorAs(t, err, &p)
	assert.Equal(t, "a\tword", p.Value)
	assert.Regexp(t, `^internal error, please report it: a\tword \(guard_test\.go:\d+\)$`, err.Error())

	empty := []int{}
	err = caught(func() error { empty[len(empty)]++; return nil })
	var index runtime.Error
	assert.ErrorAs(t, err, &index)
	assert.Contains(t, err.Error(), "guard_test.go:", "the frames of the runtime are left out")

	assert.ErrorIs(t, caught(func() error { panic(io.ErrUnexpectedEOF) }), io.ErrUnexpectedEOF)
	assert.False(t, errors.As(caught(func() error { return io.EOF }), &p))
}
