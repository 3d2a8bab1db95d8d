// Metal's vectors for both CPU and GPU; kernels use none.
