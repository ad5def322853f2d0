///A client of [`Cell`]: its methods call the service `Cell` of a peer.
#[allow(dead_code)]
struct CellClient<T: Debug, const N: usize = 1>
where
    T: Serialize + DeserializeOwned + 'static,
{
    peer: ::socketproto::Peer,
    shift: u32,
    service: ::core::marker::PhantomData<fn() -> Cell<T, N>>,
}
const _: () = {
    use ::socketproto as _socketproto;
    #[allow(dead_code, unreachable_pub, clippy::all, clippy::pedantic)]
    impl<T: Debug, const N: usize> CellClient<T, N>
    where
        T: Serialize + DeserializeOwned + 'static,
    {
        /// Calls the service where its data ids are those of its declaration.
        pub fn new(peer: &impl ::core::convert::AsRef<_socketproto::Peer>) -> Self {
            Self::at(peer, 0)
        }
        /// Calls the service where its data ids are shifted, as by `service_at`.
        pub fn at(
            peer: &impl ::core::convert::AsRef<_socketproto::Peer>,
            shift: u32,
        ) -> Self {
            let peer = ::core::clone::Clone::clone(::core::convert::AsRef::as_ref(peer));
            Self {
                peer,
                shift,
                service: ::core::marker::PhantomData,
            }
        }
        ///Executes `swap` (data `Self::SWAP`).
        pub fn swap(&self, value: T) -> _socketproto::PendingCall<T> {
            _socketproto::__private::call(
                &self.peer,
                _socketproto::ServiceId::EXECUTE_REQUEST,
                _socketproto::__private::Id(Cell::<T, N>::SWAP).get(),
                self.shift,
                "swap",
                &value,
            )
        }
        ///Reads `value` (data 1).
        pub fn value(&self) -> _socketproto::PendingCall<T> {
            _socketproto::__private::call(
                &self.peer,
                _socketproto::ServiceId::READ_REQUEST,
                _socketproto::DataId::new(1),
                self.shift,
                "value",
                &(),
            )
        }
        ///Writes `value` (data 1).
        pub fn set_value(&self, value: T) -> _socketproto::PendingCall<()> {
            _socketproto::__private::call(
                &self.peer,
                _socketproto::ServiceId::WRITE_REQUEST,
                _socketproto::DataId::new(1),
                self.shift,
                "value",
                &value,
            )
        }
    }
    #[automatically_derived]
    impl<T: Debug, const N: usize> ::core::clone::Clone for CellClient<T, N>
    where
        T: Serialize + DeserializeOwned + 'static,
    {
        fn clone(&self) -> Self {
            Self {
                peer: ::core::clone::Clone::clone(&self.peer),
                shift: self.shift,
                service: ::core::marker::PhantomData,
            }
        }
    }
    #[automatically_derived]
    impl<T: Debug, const N: usize> ::core::fmt::Debug for CellClient<T, N>
    where
        T: Serialize + DeserializeOwned + 'static,
    {
        fn fmt(&self, __f: &mut ::core::fmt::Formatter<'_>) -> ::core::fmt::Result {
            __f.debug_struct("CellClient")
                .field("peer", &self.peer)
                .field("shift", &self.shift)
                .finish()
        }
    }
    #[allow(dead_code)]
    fn __fields<T: Debug, const N: usize>(__service: &Cell<T, N>)
    where
        T: Serialize + DeserializeOwned + 'static,
    {
        let _ = &__service.value;
        let _ = &__service.value;
    }
};
