//! A card: found, opened, its kernels loaded.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, RwLock};

use cudarc::driver::sys::{self, CUfunction_attribute_enum, CUresult};
use cudarc::driver::{
    CudaContext, CudaFunction, CudaModule, CudaStream, DeviceRepr, DriverError, LaunchConfig,
    PushKernelArg,
};
use cudarc::nvrtc::Ptx;
use tidecast_forecast::LoadError;

use super::layout::{Layout, TABLE};
use super::structures;
use crate::precision::Precision;

/// A file of kernels, compiled by `build.rs`.
struct Kernels {
    binary: &'static [u8],
    /// How their names begin.
    names: &'static [&'static str],
    /// The structures that the file shares with `launch.rs`.
    layouts: fn() -> Vec<Layout>,
}

const KERNELS: [Kernels; 4] = [
    Kernels {
        binary: include_bytes!(concat!(env!("OUT_DIR"), "/attention.fatbin")),
        names: &["attend"],
        layouts: structures::of_attention,
    },
    Kernels {
        binary: include_bytes!(concat!(env!("OUT_DIR"), "/matmul.fatbin")),
        names: &["linear", "project", "experts"],
        layouts: structures::of_matmul,
    },
    Kernels {
        binary: include_bytes!(concat!(env!("OUT_DIR"), "/pointwise.fatbin")),
        names: &["norm", "route", "place", "rotate"],
        layouts: structures::of_pointwise,
    },
    Kernels {
        binary: include_bytes!(concat!(env!("OUT_DIR"), "/sample.fatbin")),
        names: &["draw", "look_back", "quantiles"],
        layouts: structures::of_sample,
    },
];

/// The CUDA version the kernels were compiled with, as the driver counts.
const NEEDED_CUDA: i32 = 13_000;

/// The oldest cards the kernels run on.
const NEEDED_CAPABILITY: (i32, i32) = (8, 0);

/// Dynamic shared memory a block gets without asking for more: of 48 KiB, some
/// may be static.
const USUAL_SHARED: usize = 40 << 10;

/// Why the card did not do what it should.
#[derive(Debug, Clone, thiserror::Error)]
pub(crate) enum CudaError {
    /// No memory is left; a smaller batch may fit.
    #[error("no memory is left on the card")]
    OutOfMemory,
    #[error("the card failed: {0}")]
    Driver(String),
}

impl From<DriverError> for CudaError {
    fn from(error: DriverError) -> Self {
        match error.0 {
            CUresult::CUDA_ERROR_OUT_OF_MEMORY => Self::OutOfMemory,
            _ => Self::Driver(error.to_string()),
        }
    }
}

impl From<CudaError> for candle_core::Error {
    fn from(error: CudaError) -> Self {
        Self::Msg(error.to_string())
    }
}

pub(crate) type Result<T> = std::result::Result<T, CudaError>;

/// An opened card with one stream, on which everything runs in order.
#[derive(Clone)]
pub(crate) struct Gpu(Arc<Opened>);

struct Opened {
    ordinal: usize,
    name: String,
    capability: (i32, i32),
    context: Arc<CudaContext>,
    stream: Arc<CudaStream>,
    modules: Vec<Arc<CudaModule>>,
    /// Why it can do nothing more.
    failure: RwLock<Option<String>>,
    /// With the most dynamic shared memory that a launch has asked for.
    functions: RwLock<HashMap<String, (CudaFunction, usize)>>,
}

impl fmt::Debug for Gpu {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Gpu[cuda:{}, {}]", self.0.ordinal, self.0.name)
    }
}

impl Gpu {
    /// Returns how many cards the driver shows; 0 without a driver.
    pub(crate) fn count() -> usize {
        if Self::check_driver().is_err() {
            return 0;
        }
        CudaContext::device_count().ok().and_then(|count| usize::try_from(count).ok()).unwrap_or(0)
    }

    /// Opens the card of this number and loads the kernels.
    pub(crate) fn open(ordinal: usize) -> std::result::Result<Self, LoadError> {
        let fail = |reason: String| LoadError::Device { device: format!("cuda:{ordinal}"), reason };
        Self::check_driver().map_err(fail)?;
        let driver = |error: DriverError| fail(error.to_string());
        let cards = match CudaContext::device_count() {
            Ok(cards) => usize::try_from(cards).unwrap_or(0),
            Err(DriverError(CUresult::CUDA_ERROR_NO_DEVICE)) => 0,
            Err(error) => return Err(driver(error)),
        };
        if ordinal >= cards {
            return Err(fail(match cards {
                0 => "the driver sees no card: is CUDA_VISIBLE_DEVICES set?".to_owned(),
                1 => "there is one card, `cuda:0`".to_owned(),
                _ => format!("there are {cards} cards, `cuda:0` to `cuda:{}`", cards - 1),
            }));
        }
        let context = CudaContext::new(ordinal).map_err(|error| {
            fail(format!("the card cannot be opened ({error}); does another process hold it?"))
        })?;
        let capability = context.compute_capability().map_err(driver)?;
        let name = context.name().map_err(driver)?;
        if capability < NEEDED_CAPABILITY {
            return Err(fail(format!(
                "{name} has compute capability {}.{}: {}.{} or newer is needed",
                capability.0, capability.1, NEEDED_CAPABILITY.0, NEEDED_CAPABILITY.1
            )));
        }
        // SAFETY: all work goes to one stream, so no event has to order it.
        unsafe { context.disable_event_tracking() };
        let stream = context.new_stream().map_err(driver)?;
        keep_freed_memory(&context).map_err(driver)?;
        let mut modules = Vec::with_capacity(KERNELS.len());
        for Kernels { binary, layouts, .. } in KERNELS {
            if binary.is_empty() {
                return Err(fail("this build holds no kernels: build it with `nvcc`".to_owned()));
            }
            let module = context.load_module(Ptx::from_binary(binary.to_vec()));
            let module = module.map_err(|error| fail(format!("no kernels for {name}: {error}")))?;
            for layout in layouts() {
                let table = table(&module, &stream, &layout.kernel()).map_err(driver)?;
                let compared = layout.compare(table.as_deref());
                // Of the build and not of the card: another device would not do.
                compared.map_err(|mismatch| LoadError::Family(Box::new(mismatch)))?;
            }
            modules.push(module);
        }
        let (failure, functions) = (RwLock::default(), RwLock::default());
        let opened =
            Opened { ordinal, name, capability, context, stream, modules, failure, functions };
        Ok(Self(Arc::new(opened)))
    }

    fn check_driver() -> std::result::Result<(), String> {
        // SAFETY: looks for a library of the system under its usual names.
        if !unsafe { sys::is_culib_present() } {
            return Err("no NVIDIA driver is installed (there is no libcuda.so.1)".to_owned());
        }
        let mut version = 0;
        // SAFETY: the library is there, and the pointer is to a number.
        let result = unsafe { sys::cuDriverGetVersion(&mut version) };
        if result != CUresult::CUDA_SUCCESS {
            return Err(format!("the NVIDIA driver does not answer: {result:?}"));
        }
        if version < NEEDED_CUDA {
            return Err(format!(
                "the NVIDIA driver is for CUDA {}.{}: one for CUDA {}.0 (r580) or newer is needed",
                version / 1000,
                version % 1000 / 10,
                NEEDED_CUDA / 1000
            ));
        }
        Ok(())
    }

    /// Returns `cuda:0` and the card's name.
    pub(crate) fn describe(&self) -> String {
        format!("cuda:{} ({})", self.0.ordinal, self.0.name)
    }

    /// Whether the card has the products by warpgroups, which no later one kept.
    pub(crate) fn is_hopper(&self) -> bool {
        self.0.capability == (9, 0)
    }

    pub(crate) fn ordinal(&self) -> usize {
        self.0.ordinal
    }

    pub(crate) fn stream(&self) -> &Arc<CudaStream> {
        &self.0.stream
    }

    /// Returns the rates of matrix products and of copying, in operations and
    /// bytes a second.
    pub(crate) fn rates(&self, precision: Precision) -> Result<(f64, f64)> {
        super::rates::rates(self, precision)
    }

    /// Returns the bytes that are free, and all bytes.
    pub(crate) fn memory(&self) -> Result<(usize, usize)> {
        Ok(self.0.context.mem_get_info()?)
    }

    /// Returns why the card can do nothing more.
    pub(crate) fn failure(&self) -> Option<String> {
        self.0.failure.read().ok()?.clone()
    }

    /// Notes an error after which the card does not answer any more; others are
    /// the request's own.
    pub(super) fn note(&self, error: &CudaError) {
        if matches!(error, CudaError::Driver(_))
            && self.synchronize().is_err()
            && let Ok(mut failure) = self.0.failure.write()
        {
            tracing::error!(card = self.describe(), %error, "the card is lost");
            failure.get_or_insert(error.to_string());
        }
    }

    /// Waits until everything is done.
    pub(crate) fn synchronize(&self) -> Result<()> {
        Ok(self.0.stream.synchronize()?)
    }

    /// Launches a kernel that takes one structure of parameters.
    pub(crate) fn launch<P: DeviceRepr>(
        &self,
        name: &str,
        grid: (usize, usize),
        threads: usize,
        shared: usize,
        parameters: &P,
    ) -> Result<()> {
        if grid.0 == 0 || grid.1 == 0 {
            return Ok(());
        }
        let function = self.function(name, shared)?;
        let config = LaunchConfig {
            grid_dim: (grid.0 as u32, grid.1 as u32, 1),
            block_dim: (threads as u32, 1, 1),
            shared_mem_bytes: shared as u32,
        };
        // SAFETY: `launch.rs` holds the structure that each kernel takes, with
        // pointers to buffers that live until the stream has passed (memory is
        // freed in the order of the stream).
        unsafe { self.0.stream.launch_builder(&function).arg(parameters).launch(config) }?;
        Ok(())
    }

    /// Returns a kernel that may have so much dynamic shared memory.
    fn function(&self, name: &str, shared: usize) -> Result<CudaFunction> {
        if let Ok(functions) = self.0.functions.read()
            && let Some((function, most)) = functions.get(name)
            && shared <= (*most).max(USUAL_SHARED)
        {
            return Ok(function.clone());
        }
        let is_its = |kernels: &Kernels| kernels.names.iter().any(|n| name.starts_with(n));
        let module = KERNELS.iter().position(is_its).and_then(|file| self.0.modules.get(file));
        let missing = || CudaError::Driver(format!("there is no kernel `{name}`"));
        let function = module.ok_or_else(missing)?.load_function(name)?;
        if shared > USUAL_SHARED {
            let attribute =
                CUfunction_attribute_enum::CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES;
            function.set_attribute(attribute, shared as i32)?;
        }
        if let Ok(mut functions) = self.0.functions.write() {
            functions.insert(name.to_owned(), (function.clone(), shared));
        }
        Ok(function)
    }
}

/// Runs a kernel that tells of a structure; `None` if the module has none of that name.
fn table(
    module: &Arc<CudaModule>,
    stream: &Arc<CudaStream>,
    kernel: &str,
) -> std::result::Result<Option<Vec<u8>>, DriverError> {
    let function = match module.load_function(kernel) {
        Ok(function) => function,
        Err(DriverError(CUresult::CUDA_ERROR_NOT_FOUND)) => return Ok(None),
        Err(error) => return Err(error),
    };
    let mut rows = stream.alloc_zeros::<u8>(TABLE)?;
    let once = LaunchConfig { grid_dim: (1, 1, 1), block_dim: (1, 1, 1), shared_mem_bytes: 0 };
    // SAFETY: it takes a pointer and writes no more rows than there is room for.
    unsafe { stream.launch_builder(&function).arg(&mut rows).launch(once) }?;
    let mut bytes = vec![0; TABLE];
    stream.memcpy_dtoh(&rows, &mut bytes)?;
    stream.synchronize()?;
    Ok(Some(bytes))
}

/// Lets freed memory stay with the process, for the next batch.
fn keep_freed_memory(context: &CudaContext) -> std::result::Result<(), DriverError> {
    if !context.has_async_alloc() {
        return Ok(());
    }
    let mut pool = std::ptr::null_mut();
    let mut threshold = u64::MAX;
    // SAFETY: the pool is the card's own, and the threshold a 64-bit number.
    unsafe {
        sys::cuDeviceGetDefaultMemPool(&mut pool, context.cu_device()).result()?;
        let attribute = sys::CUmemPool_attribute::CU_MEMPOOL_ATTR_RELEASE_THRESHOLD;
        sys::cuMemPoolSetAttribute(pool, attribute, (&raw mut threshold).cast()).result()
    }
}
