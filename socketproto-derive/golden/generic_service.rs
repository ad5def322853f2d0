const _: () = {
    use ::socketproto as _socketproto;
    #[automatically_derived]
    impl<T: Debug, const N: usize> _socketproto::Service for Cell<T, N>
    where
        T: Serialize + DeserializeOwned + 'static,
    {
        const SERVICE: &'static _socketproto::ServiceTable = &_socketproto::ServiceTable::new(
            "Cell",
            "",
            const {
                &[
                    _socketproto::Entry::new(
                        _socketproto::ServiceId::EXECUTE_REQUEST,
                        _socketproto::__private::Id(Self::SWAP).get(),
                        "swap",
                    ),
                    _socketproto::Entry::new(
                        _socketproto::ServiceId::READ_REQUEST,
                        _socketproto::DataId::new(1),
                        "value",
                    ),
                    _socketproto::Entry::new(
                        _socketproto::ServiceId::WRITE_REQUEST,
                        _socketproto::DataId::new(1),
                        "value",
                    ),
                ]
            },
        );
        fn dispatch(
            &mut self,
            __state: &_socketproto::__private::State<Self>,
            __entry: usize,
            __request: &_socketproto::__private::Request,
            __out: &mut ::std::vec::Vec<u8>,
        ) -> _socketproto::__private::Step {
            _socketproto::__private::serve(|| match __entry {
                0 => {
                    let __argument_value: T = __request.data()?;
                    _socketproto::__private::reply::<
                        T,
                        _,
                    >(self.swap(__argument_value), __out)
                }
                1 => _socketproto::__private::value(&self.value, __out),
                2 => {
                    let __value: T = __request.data()?;
                    self.value = __value;
                    _socketproto::__private::value(&(), __out)
                }
                _ => ::core::result::Result::Err(_socketproto::Fault::unknown("")),
            })
        }
    }
};
