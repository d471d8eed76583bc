//! Memory of the card.

use std::marker::PhantomData;

use cudarc::driver::{CudaSlice, DevicePtr, DeviceRepr, ValidAsZeroBits};

use super::gpu::{Gpu, Result};

/// A pointer into the card's memory, as kernels take it.
#[repr(C)]
#[derive(Debug)]
pub(super) struct Pointer<T>(u64, PhantomData<T>);

impl<T> Clone for Pointer<T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Pointer<T> {}

impl<T> Pointer<T> {
    /// For what a kernel can do without.
    pub(super) const NULL: Self = Self(0, PhantomData);

    /// Returns the pointer so many elements further on.
    pub(super) fn at(self, index: usize) -> Self {
        Self(self.0 + (index * size_of::<T>()) as u64, PhantomData)
    }

    /// Returns the pointer to something kept in another type.
    pub(super) fn cast<U>(self) -> Pointer<U> {
        Pointer(self.0, PhantomData)
    }
}

/// Numbers of one type in the card's memory.
#[derive(Debug)]
pub(super) struct Buffer<T> {
    slice: CudaSlice<T>,
    pointer: Pointer<T>,
}

impl<T: DeviceRepr> Buffer<T> {
    /// Returns memory that is to be written before it is read.
    pub(super) fn new(gpu: &Gpu, length: usize) -> Result<Self> {
        // SAFETY: kernels write every element before they read it.
        let slice = unsafe { gpu.stream().alloc::<T>(length.max(1)) }?;
        Ok(Self::of(gpu, slice))
    }

    fn of(gpu: &Gpu, slice: CudaSlice<T>) -> Self {
        let pointer = Pointer(slice.device_ptr(gpu.stream()).0, PhantomData);
        Self { slice, pointer }
    }

    pub(super) fn pointer(&self) -> Pointer<T> {
        self.pointer
    }

    pub(super) fn bytes(&self) -> usize {
        self.slice.num_bytes()
    }
}

impl<T: DeviceRepr + Default + Clone> Buffer<T> {
    /// Copies numbers to the card.
    pub(super) fn from(gpu: &Gpu, numbers: &[T]) -> Result<Self> {
        let mut buffer = Self::new(gpu, numbers.len())?;
        buffer.write(gpu, numbers)?;
        Ok(buffer)
    }

    /// Overwrites the first numbers.
    pub(super) fn write(&mut self, gpu: &Gpu, numbers: &[T]) -> Result<()> {
        if !numbers.is_empty() {
            gpu.stream().memcpy_htod(numbers, &mut self.slice)?;
        }
        Ok(())
    }

    /// Copies the first numbers to the host, when the card has come so far.
    pub(super) fn read(&self, gpu: &Gpu, length: usize) -> Result<Vec<T>> {
        let mut numbers = vec![T::default(); length];
        if length > 0 {
            gpu.stream().memcpy_dtoh(&self.slice.slice(..length), &mut numbers)?;
        }
        gpu.synchronize()?;
        Ok(numbers)
    }
}

impl<T: DeviceRepr + ValidAsZeroBits> Buffer<T> {
    pub(super) fn zeros(gpu: &Gpu, length: usize) -> Result<Self> {
        Ok(Self::of(gpu, gpu.stream().alloc_zeros(length.max(1))?))
    }
}
