// Package ops holds the operations that layers record on a graph, one file each
// or one small family: what the operation computes, its shape rule, the kernels
// that compute it, its gradient and a plain float64 reference side by side.
//
// Nothing is implicit: tensors are dense and row-major, types are not promoted,
// and nothing broadcasts unless the operation says so. A misuse is recorded and
// reported by graph.Graph.Build; it names the shapes.
//
// To add an operation, write x.go with one graph.Op literal and the function
// that applies it, its kernels shaders/x.wgsl and, where its gradient needs its
// own, shaders/x_grad.wgsl, and a row in the op table in tests, which asks every
// operation the same questions: does the gradient agree with finite differences
// of the reference, and do the kernels agree with it. A gradient that other
// operations can express needs no kernel. A sum has one fixed order: no atomics
// on floats. A VJP that records its own operation uses n.Op, and two that record
// each other are set in an init function, since Go's literals cannot refer to
// one another.
package ops
