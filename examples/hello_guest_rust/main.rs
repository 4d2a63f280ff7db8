// hello_guest_rust: hello_guest in Rust, through vmm/c.h. What it uses is declared by hand; bindgen does the same for
// all of the header.

use std::ffi::{c_char, c_int, c_void, CStr, CString};
use std::mem::size_of;
use std::ptr::{null, null_mut};

// Structs of the header, up to the last member that is used here: by `size` the library takes them for those of an
// older header, and the rest has its defaults.
#[repr(C)]
struct HostOptions {
    size: usize,
    memory: u64,
}

#[repr(C)]
struct GuestOptions {
    size: usize,
    set: u64,
    name: *const c_char,
    memory: u64,
}

#[repr(C)]
#[derive(Default)]
struct GuestStats {
    size: usize,
    memory: u64,
    reservation: u64,
    limit: u64,
    shares: u64,
    resident: u64,
    granted: u64,
    staging: u64,
    swapped: u64,
}

#[link(name = "vmm")]
extern "C" {
    fn vmm_last_error() -> *const c_char;
    fn vmm_host_options_init(options: *mut HostOptions, size: usize) -> c_int;
    fn vmm_host_create(options: *const HostOptions, host: *mut *mut c_void) -> c_int;
    fn vmm_host_destroy(host: *mut c_void);
    fn vmm_guest_options_init(options: *mut GuestOptions, size: usize) -> c_int;
    fn vmm_guest_create(host: *mut c_void, options: *const GuestOptions, guest: *mut *mut c_void) -> c_int;
    fn vmm_guest_destroy(guest: *mut c_void);
    fn vmm_guest_memory(guest: *const c_void, bytes: *mut u64) -> *mut c_void;
    fn vmm_guest_get_stats(guest: *const c_void, stats: *mut GuestStats) -> c_int;
}

fn check(status: c_int) -> Result<(), String> {
    if status == 0 {
        return Ok(());
    }
    // SAFETY: never NULL, and valid until the next failure on this thread.
    Err(unsafe { CStr::from_ptr(vmm_last_error()) }.to_string_lossy().into_owned())
}

struct Host(*mut c_void);

impl Host {
    fn new(memory: u64) -> Result<Host, String> {
        let mut options = HostOptions { size: 0, memory: 0 };
        let mut host = null_mut();
        unsafe {
            check(vmm_host_options_init(&mut options, size_of::<HostOptions>()))?;
            options.memory = memory;
            check(vmm_host_create(&options, &mut host))?;
        }
        Ok(Host(host))
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        unsafe { vmm_host_destroy(self.0) }
    }
}

// Its memory is gone with the host, so it borrows it.
struct Guest<'host>(*mut c_void, std::marker::PhantomData<&'host Host>);

impl<'host> Guest<'host> {
    fn new(host: &'host Host, name: &str, memory: u64) -> Result<Guest<'host>, String> {
        let name = CString::new(name).map_err(|e| e.to_string())?;
        let mut options = GuestOptions { size: 0, set: 0, name: null(), memory: 0 };
        let mut guest = null_mut();
        unsafe {
            check(vmm_guest_options_init(&mut options, size_of::<GuestOptions>()))?;
            options.name = name.as_ptr();
            options.memory = memory;
            check(vmm_guest_create(host.0, &options, &mut guest))?;
        }
        Ok(Guest(guest, std::marker::PhantomData))
    }

    fn words(&mut self) -> &mut [u64] {
        let mut bytes = 0;
        unsafe {
            let memory = vmm_guest_memory(self.0, &mut bytes);
            std::slice::from_raw_parts_mut(memory.cast(), bytes as usize / 8)
        }
    }

    fn stats(&self) -> Result<GuestStats, String> {
        let mut stats = GuestStats { size: size_of::<GuestStats>(), ..Default::default() };
        check(unsafe { vmm_guest_get_stats(self.0, &mut stats) })?;
        Ok(stats)
    }
}

impl Drop for Guest<'_> {
    fn drop(&mut self) {
        unsafe { vmm_guest_destroy(self.0) }
    }
}

fn run() -> Result<bool, String> {
    let host = Host::new(128 << 20)?;
    let mut guest = Guest::new(&host, "hello", 512 << 20)?;
    for (index, word) in guest.words().iter_mut().enumerate() {
        *word = index as u64;
    }
    let right = guest.words().iter().enumerate().all(|(index, word)| *word == index as u64);
    let stats = guest.stats()?;
    println!(
        "{} MiB of guest: {} MiB resident, {} MiB swapped; {}",
        stats.memory >> 20,
        stats.resident >> 20,
        stats.swapped >> 20,
        if right { "every word is as written" } else { "words are wrong" }
    );
    Ok(right)
}

fn main() {
    match run() {
        Ok(true) => (),
        Ok(false) => std::process::exit(1),
        Err(text) => {
            eprintln!("{text}");
            std::process::exit(2)
        }
    }
}
